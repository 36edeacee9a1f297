//! The words of our pages, in Kazakh, Russian and English.
//!
//! Rules: say what is so, not who is to blame; tell the reader what happens next or what to do; no "error", no
//! "sorry", no number but the code that the newsroom can read. The newsroom speaks, not its software. *Site*, *page*, *newsroom* and *request* have one word each:
//! сайт, бет, редакция, сұраныс; сайт, страница, редакция, запрос.

use super::{Held, Page};
use crate::plan::Language::{self, English, Kazakh, Russian};

pub(super) struct Words {
    pub(super) title: &'static str,
    pub(super) first: &'static str,
    pub(super) second: Option<&'static str>,
    pub(super) again: &'static str,
    pub(super) front: &'static str,
    pub(super) accept: &'static str,
}

pub(super) fn words(page: Page, language: Language) -> Words {
    let (title, first) = said(page, language);
    let second = matches!(page, Page::Waiting { .. }).then_some(match language {
        Kazakh => "Бұл бетті жаппай, ашық қалдырыңыз.",
        Russian => "Просто оставьте эту страницу открытой.",
        English => "Just leave this page open.",
    });
    let accept = match language {
        Kazakh => "Мен редакциядамын",
        Russian => "Я из редакции",
        English => "I work here",
    };
    let (again, front) = match language {
        Kazakh => ("Қайталап көру", "Басты бетке өту"),
        Russian => ("Попробовать ещё раз", "Перейти на главную"),
        English => ("Try again", "Go to the front page"),
    };
    Words {
        title,
        first,
        second,
        again,
        front,
        accept,
    }
}

/// Around a form that is given back.
pub(super) struct HeldWords {
    pub(super) title: &'static str,
    pub(super) first: &'static str,
    pub(super) second: &'static str,
    pub(super) button: &'static str,
}

pub(super) fn held(held: Held, language: Language) -> HeldWords {
    let (title, first, second) = match (held, language) {
        (Held::Soon { .. }, Kazakh) => (
            "Жібергеніңіз сәлден соң жетеді",
            "Дәл қазір сайт сұраныстар тасқынынан қорғалып тұр, сондықтан аздап күту керек. Жазғаныңыз жоғалған жоқ: ол осы бетте \
             сақтаулы және өзі қайта жіберіледі.",
            "Бұл бетті жаппаңыз. Жарты минутта ештеңе өзгермесе, төмендегі батырманы басыңыз.",
        ),
        (Held::Soon { .. }, Russian) => (
            "Отправим через несколько секунд",
            "Сейчас сайт защищается от потока запросов, поэтому нужно немного подождать. Написанное не потеряно: оно хранится на этой \
             странице и отправится само.",
            "Не закрывайте эту страницу. Если за полминуты ничего не изменится, нажмите кнопку.",
        ),
        (Held::Soon { .. }, English) => (
            "What you sent will go through shortly",
            "This site is being protected from a flood of requests right now, so yours has to wait a little. Nothing you wrote is lost: \
             it is kept in this page and is sent again by itself.",
            "Leave this page open. If nothing has changed in half a minute, press the button.",
        ),
        (Held::Waiting, Kazakh) => (
            "Жібергеніңіз әлі кезекте тұр",
            "Сайтқа әлі де өте көп сұраныс түсіп жатыр. Жазғаныңыз жоғалған жоқ: ол осы бетте сақтаулы.",
            "Бұл бетті жаппаңыз. Браузерде осы сайттың cookie файлдарына рұқсат бар екенін тексеріп, бір минуттан кейін төмендегі \
             батырманы басыңыз.",
        ),
        (Held::Waiting, Russian) => (
            "Отправленное ещё ждёт своей очереди",
            "На сайт всё ещё приходит очень много запросов. Написанное не потеряно: оно хранится на этой странице.",
            "Не закрывайте эту страницу. Проверьте, что браузер принимает cookie этого сайта, и через минуту нажмите кнопку.",
        ),
        (Held::Waiting, English) => (
            "What you sent is still waiting",
            "This site is still receiving a great many requests. Nothing you wrote is lost: it is kept in this page.",
            "Leave this page open. Check that your browser accepts cookies of this site, and press the button in a minute.",
        ),
        (Held::Perhaps, Kazakh) => (
            "Қайта жіберу керек пе?",
            "Жібергеніңіз бұрын жетіп қойған болуы мүмкін. Алдымен басқа терезеде сайтты қарап, оның бар-жоғын тексеріңіз.",
            "Ол жерде болмаса, төмендегі батырманы басыңыз.",
        ),
        (Held::Perhaps, Russian) => (
            "Отправить ещё раз?",
            "Возможно, отправленное уже дошло. Сначала откройте сайт в другом окне и проверьте, нет ли его там.",
            "Если там ничего нет, нажмите кнопку.",
        ),
        (Held::Perhaps, English) => (
            "Send it again?",
            "What you sent may have arrived already. First open the site in another window and see whether it is there.",
            "If it is not, press the button.",
        ),
    };
    let button = match language {
        Kazakh => "Жіберу",
        Russian => "Отправить",
        English => "Send",
    };
    HeldWords {
        title,
        first,
        second,
        button,
    }
}

/// What to do when what the page says to do has not helped, with the code that stands behind it.
pub(super) fn code(waits: bool, language: Language) -> &'static str {
    match (waits, language) {
        (true, Kazakh) => {
            "Бір минуттан кейін де осы бет тұрса, браузерде осы сайттың cookie файлдарына рұқсат беріңіз. Ол көмектеспесе, редакцияға жазып, мына \
             кодты айтыңыз:"
        }
        (true, Russian) => {
            "Если через минуту вы всё ещё видите эту страницу, разрешите в браузере cookie этого сайта. Если не поможет, напишите в редакцию и \
             сообщите этот код:"
        }
        (true, English) => {
            "If you still see this page after a minute, let your browser keep cookies of this site. If that does not help, write to the newsroom \
             and give them this code:"
        }
        (false, Kazakh) => "Осылай қайталана берсе, редакцияға жазып, мына кодты айтыңыз:",
        (false, Russian) => "Если это повторяется, напишите в редакцию и сообщите этот код:",
        (false, English) => "If this goes on, write to the newsroom and give them this code:",
    }
}

fn said(page: Page, language: Language) -> (&'static str, &'static str) {
    match (page, language) {
        (Page::Invitation, Kazakh) => (
            "Редакцияға шақыру",
            "Бұл сілтеме редакция қызметкерлеріне арналған. Батырманы бассаңыз, осы браузер сайт шабуылға ұшырағанда да кезексіз кіреді. \
             Бөтен құрылғыда баспаңыз.",
        ),
        (Page::Invitation, Russian) => (
            "Приглашение для редакции",
            "Эта ссылка — для сотрудников редакции. Нажмите кнопку, и этот браузер будет входить без очереди, даже когда сайт атакуют. \
             Не нажимайте на чужом устройстве.",
        ),
        (Page::Invitation, English) => (
            "An invitation for the newsroom",
            "This link is for people who work here. Press the button, and this browser comes in without waiting, even while the site is \
             under attack. Do not press it on a device that is not yours.",
        ),
        (Page::Invited, Kazakh) => (
            "Дайын",
            "Бұл браузер енді редакцияныкі деп танылады. CMS-ке бұрынғыдай кіріңіз. Құрылғы жоғалса, сілтемені жіберген адамға айтыңыз.",
        ),
        (Page::Invited, Russian) => (
            "Готово",
            "Этот браузер теперь известен как редакционный. Входите в CMS как обычно. Если устройство потеряется, скажите тому, кто прислал \
             ссылку.",
        ),
        (Page::Invited, English) => (
            "Done",
            "This browser is now known to be the newsroom's. Log in to the CMS as usual. If the device gets lost, tell whoever sent you the link.",
        ),
        (Page::InvitationOver, Kazakh) => (
            "Сілтеме енді жарамайды",
            "Оның мерзімі өткен немесе ол пайдаланылып қойған. Сілтемені жіберген адамнан жаңасын сұраңыз.",
        ),
        (Page::InvitationOver, Russian) => (
            "Ссылка больше не действует",
            "Её срок истёк, или ею уже воспользовались. Попросите новую у того, кто её прислал.",
        ),
        (Page::InvitationOver, English) => (
            "This link is no longer good",
            "It is too old, or it has been used. Ask whoever sent it for a new one.",
        ),
        (Page::Waiting { .. }, Kazakh) => (
            "Бет сәлден соң ашылады",
            "Дәл қазір сайтқа өте көп сұраныс түсіп жатыр, сондықтан бетті ашуға аздап уақыт керек. Ештеңе істеудің қажеті \
             жоқ: бұл бет өзі жаңарып, кезегіңіз келгенде сіз ашқан бетті көрсетеді.",
        ),
        (Page::Waiting { .. }, Russian) => (
            "Страница скоро откроется",
            "Сейчас на сайт приходит очень много запросов, поэтому нужно немного подождать. Ничего делать не надо: эта \
             страница обновится сама и, когда подойдёт ваша очередь, покажет то, что вы открывали.",
        ),
        (Page::Waiting { .. }, English) => (
            "Your page will open shortly",
            "This site is receiving a great many requests right now, so yours has to wait a little. There is nothing you \
             need to do: this page reloads by itself and will show what you asked for when your turn comes.",
        ),
        (Page::NotTaken, Kazakh) => (
            "Жібергеніңіз әзірге қабылданбады",
            "Дәл қазір сайтқа өте көп сұраныс түсіп жатыр. Алдыңғы бетке қайтып, бір минуттан кейін қайта жіберіңіз.",
        ),
        (Page::NotTaken, Russian) => (
            "Отправленное пока не принято",
            "Сейчас на сайт приходит очень много запросов. Вернитесь на предыдущую страницу и отправьте ещё раз через минуту.",
        ),
        (Page::NotTaken, English) => (
            "What you sent has not been received",
            "This site is receiving a great many requests right now. Please go back one page and send it again in a minute.",
        ),
        (Page::NotSent, Kazakh) => (
            "Қазір жіберу мүмкін емес",
            "Редакцияның сервері жауап бермей тұр, сондықтан жібергеніңіз қабылданбаған болар. Алдыңғы бетке оралып, мәтініңізді \
             сақтап қойыңыз да, кейінірек қайта жіберіңіз.",
        ),
        (Page::NotSent, Russian) => (
            "Сейчас отправить нельзя",
            "Сервер редакции не отвечает, и то, что вы отправили, скорее всего, не принято. Вернитесь на предыдущую страницу, \
             сохраните текст и отправьте ещё раз позже.",
        ),
        (Page::NotSent, English) => (
            "Sending is not possible now",
            "The newsroom’s server is not answering, so what you sent has most likely not been received. Please go back one page, \
             keep your text, and send it again later.",
        ),
        (Page::NotUnderstood, Kazakh) => (
            "Сұранысты түсіне алмадық",
            "Браузеріңізден немесе аралықтағы бағдарламадан түсініксіз дерек келді. Басты беттен бастап көріңіз.",
        ),
        (Page::NotUnderstood, Russian) => (
            "Не удалось понять запрос",
            "От вашего браузера или от программы на пути к нам пришло что-то непонятное. Попробуйте начать с главной страницы.",
        ),
        (Page::NotUnderstood, English) => (
            "We could not understand the request",
            "Your browser, or a program between it and us, sent something unclear. Try starting from the front page.",
        ),
        (Page::Refused, Kazakh) => (
            "Сіздің желіңізден кіру жабық",
            "Редакция сіз қосылған желіден сайтқа кіруді жауып қойған. Басқа желі арқылы кіріп көріңіз. Бұл қателік деп \
             ойласаңыз, редакцияға хабарлаңыз.",
        ),
        (Page::Refused, Russian) => (
            "Доступ из вашей сети закрыт",
            "Редакция закрыла доступ к сайту из сети, через которую вы подключились. Попробуйте зайти через другую сеть. \
             Если вы считаете, что это ошибка, сообщите редакции.",
        ),
        (Page::Refused, English) => (
            "Access from your network is closed",
            "The newsroom has closed this site to the network you are using. Try another network. If you think this is a \
             mistake, please tell the newsroom.",
        ),
        (Page::UnknownHost, Kazakh) => (
            "Мұнда ондай сайт жоқ",
            "Бұл мекенжай серверге белгісіз. Мекенжайдың дұрыс жазылғанын тексеріңіз.",
        ),
        (Page::UnknownHost, Russian) => (
            "Здесь нет такого сайта",
            "Этот адрес серверу неизвестен. Проверьте, правильно ли он написан.",
        ),
        (Page::UnknownHost, English) => (
            "There is no such site here",
            "This server does not know the address. Please check how it is spelled.",
        ),
        (Page::TooSlow, Kazakh) => (
            "Сұраныс толық жетпеді",
            "Ол тым ұзақ жіберілді. Байланысты тексеріп, қайталап көріңіз.",
        ),
        (Page::TooSlow, Russian) => (
            "Запрос не дошёл целиком",
            "Он передавался слишком долго. Проверьте связь и попробуйте ещё раз.",
        ),
        (Page::TooSlow, English) => (
            "The request did not arrive in full",
            "It took too long to send. Check your connection and try again.",
        ),
        (Page::TooLarge, Kazakh) => (
            "Файл тым үлкен",
            "Жіберіп отырғаныңыз сайт қабылдайтын көлемнен асып кетті. Кішірек файл жіберіңіз немесе редакциядан басқа \
             жолын сұраңыз.",
        ),
        (Page::TooLarge, Russian) => (
            "Файл слишком большой",
            "То, что вы отправляете, больше, чем принимает сайт. Отправьте файл поменьше или спросите у редакции, как \
             передать его иначе.",
        ),
        (Page::TooLarge, English) => (
            "The file is too large",
            "What you are sending is larger than this site accepts. Send a smaller file, or ask the newsroom for another way.",
        ),
        (Page::TooMany, Kazakh) => (
            "Әрекеттер тым көп",
            "Сіздің желіңізден тым жиі кіруге немесе пікір жазуға тырысты. Жазғаныңыз алдыңғы бетте қалды: он минуттан кейін сол \
             жерден қайта жіберіңіз.",
        ),
        (Page::TooMany, Russian) => (
            "Слишком много попыток",
            "Из вашей сети слишком часто пытались войти или оставить комментарий. Написанное осталось на предыдущей странице: \
             отправьте его оттуда через десять минут.",
        ),
        (Page::TooMany, English) => (
            "Too many attempts",
            "Too many passwords or comments have come from your network. What you wrote is still on the previous page: please send it \
             from there in ten minutes.",
        ),
        (Page::FieldsTooLarge, Kazakh) => (
            "Браузер тым көп дерек жіберді",
            "Бұл көбіне cookie файлдары көбейіп кеткенде болады. Осы сайттың cookie файлдарын өшіріп, қайталап көріңіз.",
        ),
        (Page::FieldsTooLarge, Russian) => (
            "Браузер прислал слишком много данных",
            "Чаще всего так бывает, когда накопилось много файлов cookie. Удалите cookie этого сайта и попробуйте ещё раз.",
        ),
        (Page::FieldsTooLarge, English) => (
            "Your browser sent too much data",
            "This mostly happens when many cookies have piled up. Delete the cookies of this site and try again.",
        ),
        (Page::Loop, Kazakh) => (
            "Бұл бет уақытша ашылмай тұр",
            "Сайттың баптауы дұрыс болмағандықтан, сұраныс өзіміздің серверге қайта оралды. Бұл туралы редакцияға хабарлаңыз.",
        ),
        (Page::Loop, Russian) => (
            "Страница временно недоступна",
            "Сайт настроен так, что запрос вернулся на тот же сервер, откуда ушёл. Пожалуйста, сообщите об этом редакции.",
        ),
        (Page::Loop, English) => (
            "This page is unavailable for now",
            "The site is set up so that the request came back to the server that sent it. Please tell the newsroom.",
        ),
        (Page::OriginDown, Kazakh) => (
            "Бұл бет уақытша ашылмай тұр",
            "Редакцияның сервері қазір жауап бермей тұр, ал беттің сақталған көшірмесі жоқ. Біраздан кейін қайталап көріңіз; \
             басқа беттер ашылуы мүмкін.",
        ),
        (Page::OriginDown, Russian) => (
            "Страница временно недоступна",
            "Сервер редакции сейчас не отвечает, а сохранённой копии этой страницы нет. Попробуйте чуть позже; другие \
             страницы могут открываться.",
        ),
        (Page::OriginDown, English) => (
            "This page is unavailable for now",
            "The newsroom’s server is not answering at the moment, and there is no saved copy of this page. Please try again a \
             little later; other pages may still open.",
        ),
        (Page::OriginSlow, Kazakh) => (
            "Бет уақытында дайын болмады",
            "Редакцияның сервері қазір баяу жауап беріп тұр. Бір минуттан кейін қайталап көріңіз; басқа беттер ашылуы мүмкін.",
        ),
        (Page::OriginSlow, Russian) => (
            "Страница не успела загрузиться",
            "Сервер редакции сейчас отвечает медленно. Попробуйте ещё раз через минуту; другие страницы могут открываться.",
        ),
        (Page::OriginSlow, English) => (
            "The page was not ready in time",
            "The newsroom’s server is slow to answer at the moment. Please try again in a minute; other pages may still open.",
        ),
    }
}
