//! What the demonstration newsroom writes: everyday city life, invented, without persons.
//!
//! A topic meets a place and becomes a story; the paragraphs below fit any of them. `{in}` is "in the place" with the grammar
//! done (Kazakh and Russian decline), `{In}` the same at the start of a sentence.

use super::{Lang, Section};

/// One text in the three languages, indexed by [`Lang::index`].
pub(super) type Trilingual = [&'static str; 3];

pub(super) struct Place {
    pub(super) slug: &'static str,
    pub(super) name: Trilingual,
    pub(super) inside: Trilingual,
}

pub(super) struct Topic {
    pub(super) section: Section,
    pub(super) title: Trilingual,
    pub(super) lead: Trilingual,
}

pub(super) struct Chrome {
    pub(super) home: &'static str,
    pub(super) search: &'static str,
    pub(super) latest: &'static str,
    pub(super) related: &'static str,
    pub(super) tags: &'static str,
    pub(super) found: &'static str,
    pub(super) nothing_found: &'static str,
    pub(super) missing: &'static str,
    pub(super) missing_text: &'static str,
    pub(super) subscribe: &'static str,
    pub(super) footer: &'static str,
}

pub(super) fn chrome(lang: Lang) -> &'static Chrome {
    match lang {
        Lang::Kazakh => &Chrome {
            home: "Басты бет",
            search: "Іздеу",
            latest: "Соңғы жаңалықтар",
            related: "Осы тақырыпта",
            tags: "Белгілер",
            found: "Іздеу нәтижелері",
            nothing_found: "Ештеңе табылмады. Басқа сөзбен іздеп көріңіз.",
            missing: "Бет табылмады",
            missing_text: "Сілтеме ескірген немесе қате терілген болуы мүмкін. Басты беттен іздеп көріңіз.",
            subscribe: "Таңғы шолуға жазылыңыз: аптасына бес рет, артық сөзсіз.",
            footer: "Бұл — жаттығуға арналған редакция. Мұндағы барлық хабар ойдан шығарылған.",
        },
        Lang::Russian => &Chrome {
            home: "Главная",
            search: "Поиск",
            latest: "Последние новости",
            related: "По теме",
            tags: "Метки",
            found: "Результаты поиска",
            nothing_found: "Ничего не нашлось. Попробуйте другое слово.",
            missing: "Страница не найдена",
            missing_text: "Возможно, ссылка устарела или набрана с ошибкой. Попробуйте начать с главной страницы.",
            subscribe: "Подпишитесь на утренний обзор: пять раз в неделю и ничего лишнего.",
            footer: "Это учебная редакция. Все сообщения здесь вымышлены.",
        },
        Lang::English => &Chrome {
            home: "Home",
            search: "Search",
            latest: "Latest news",
            related: "Related stories",
            tags: "Tags",
            found: "Search results",
            nothing_found: "Nothing found. Try another word.",
            missing: "Page not found",
            missing_text: "The link may be out of date or mistyped. Try starting from the front page.",
            subscribe: "Subscribe to the morning review: five times a week, nothing superfluous.",
            footer: "This is a newsroom for rehearsals. Every story here is invented.",
        },
    }
}

pub(super) fn section_name(section: Section, lang: Lang) -> &'static str {
    let names: Trilingual = match section {
        Section::City => ["Қала", "Город", "City"],
        Section::Culture => ["Мәдениет", "Культура", "Culture"],
        Section::Economy => ["Экономика", "Экономика", "Economy"],
        Section::Education => ["Білім", "Образование", "Education"],
        Section::Sport => ["Спорт", "Спорт", "Sport"],
        Section::Nature => ["Табиғат", "Природа", "Nature"],
    };
    names[lang.index()]
}

pub(super) const PLACES: &[Place] = &[
    Place {
        slug: "almaty",
        name: ["Алматы", "Алматы", "Almaty"],
        inside: ["Алматыда", "в Алматы", "in Almaty"],
    },
    Place {
        slug: "astana",
        name: ["Астана", "Астана", "Astana"],
        inside: ["Астанада", "в Астане", "in Astana"],
    },
    Place {
        slug: "shymkent",
        name: ["Шымкент", "Шымкент", "Shymkent"],
        inside: ["Шымкентте", "в Шымкенте", "in Shymkent"],
    },
    Place {
        slug: "qaraghandy",
        name: ["Қарағанды", "Караганда", "Karaganda"],
        inside: ["Қарағандыда", "в Караганде", "in Karaganda"],
    },
    Place {
        slug: "aqtobe",
        name: ["Ақтөбе", "Актобе", "Aktobe"],
        inside: ["Ақтөбеде", "в Актобе", "in Aktobe"],
    },
    Place {
        slug: "taraz",
        name: ["Тараз", "Тараз", "Taraz"],
        inside: ["Таразда", "в Таразе", "in Taraz"],
    },
    Place {
        slug: "pavlodar",
        name: ["Павлодар", "Павлодар", "Pavlodar"],
        inside: ["Павлодарда", "в Павлодаре", "in Pavlodar"],
    },
    Place {
        slug: "oskemen",
        name: ["Өскемен", "Усть-Каменогорск", "Oskemen"],
        inside: ["Өскеменде", "в Усть-Каменогорске", "in Oskemen"],
    },
    Place {
        slug: "semey",
        name: ["Семей", "Семей", "Semey"],
        inside: ["Семейде", "в Семее", "in Semey"],
    },
    Place {
        slug: "atyrau",
        name: ["Атырау", "Атырау", "Atyrau"],
        inside: ["Атырауда", "в Атырау", "in Atyrau"],
    },
    Place {
        slug: "qostanay",
        name: ["Қостанай", "Костанай", "Kostanay"],
        inside: ["Қостанайда", "в Костанае", "in Kostanay"],
    },
    Place {
        slug: "oral",
        name: ["Орал", "Уральск", "Oral"],
        inside: ["Оралда", "в Уральске", "in Oral"],
    },
    Place {
        slug: "aqtau",
        name: ["Ақтау", "Актау", "Aktau"],
        inside: ["Ақтауда", "в Актау", "in Aktau"],
    },
    Place {
        slug: "kokshetau",
        name: ["Көкшетау", "Кокшетау", "Kokshetau"],
        inside: ["Көкшетауда", "в Кокшетау", "in Kokshetau"],
    },
];

pub(super) const TOPICS: &[Topic] = &[
    Topic {
        section: Section::City,
        title: [
            "{In} жаңа автобус бағыты ашылды",
            "{In} открыли новый автобусный маршрут",
            "A new bus route opens {in}",
        ],
        lead: [
            "Автобус шеткі ықшам аудандарды теміржол вокзалымен қосады және таңғы алтыдан кешкі он бірге дейін жүреді. Алғашқы аптада жол жүру тегін.",
            "Автобус связал отдалённые микрорайоны с железнодорожным вокзалом и ходит с шести утра до одиннадцати вечера. Первую неделю проезд бесплатный.",
            "The bus links the outlying neighbourhoods with the railway station and runs from six in the morning until eleven at night. The first week is free of charge.",
        ],
    },
    Topic {
        section: Section::City,
        title: [
            "{In} ескі саябақ күрделі жөндеуден кейін ашылды",
            "{In} после ремонта открылся старый парк",
            "An old park reopens after renovation {in}",
        ],
        lead: [
            "Саябақта жаңа орындықтар мен шамдар орнатылып, жүз елу түп ағаш отырғызылды. Субұрқақ кешкі уақытта жұмыс істейді.",
            "В парке поставили новые скамейки и фонари, высадили сто пятьдесят деревьев. Фонтан работает по вечерам.",
            "The park has new benches and lamps, and a hundred and fifty trees have been planted. The fountain runs in the evenings.",
        ],
    },
    Topic {
        section: Section::City,
        title: [
            "{In} көпірді жөндеу мерзімінен бұрын аяқталды",
            "{In} ремонт моста закончили раньше срока",
            "Bridge repairs finish ahead of schedule {in}",
        ],
        lead: [
            "Көлік қозғалысы екі бағытта да толық қалпына келді. Жөндеу кезінде жаяу жүргіншілер жолы кеңейтіліп, жарық шамдар ауыстырылды.",
            "Движение полностью восстановили в обе стороны. Во время ремонта расширили пешеходную часть и заменили освещение.",
            "Traffic is back to normal in both directions. The footway was widened and the lighting replaced while the work was going on.",
        ],
    },
    Topic {
        section: Section::City,
        title: [
            "{In} аулаларда бөлек қоқыс жинау басталды",
            "{In} во дворах начали раздельный сбор мусора",
            "Separate waste collection begins in courtyards {in}",
        ],
        lead: [
            "Алғашқы кезеңде қырық аулаға қағаз, пластик және шыны жинайтын үш түсті жәшіктер қойылды. Олар аптасына екі рет босатылады.",
            "На первом этапе в сорока дворах поставили контейнеры трёх цветов: для бумаги, пластика и стекла. Их вывозят дважды в неделю.",
            "In the first stage forty courtyards received containers in three colours, for paper, plastic and glass. They are emptied twice a week.",
        ],
    },
    Topic {
        section: Section::Culture,
        title: [
            "{In} қалалық кітапхана түнгі оқу апталығын өткізеді",
            "{In} городская библиотека проводит неделю ночного чтения",
            "The city library holds a week of night reading {in}",
        ],
        lead: [
            "Бір апта бойы оқу залдары түн ортасына дейін ашық болады. Балаларға арналған ертегі кештері мен аударма шеберханасы жоспарланған.",
            "Всю неделю читальные залы открыты до полуночи. Запланированы вечера сказок для детей и мастерская перевода.",
            "For a whole week the reading rooms stay open until midnight. Evenings of fairy tales for children and a translation workshop are planned.",
        ],
    },
    Topic {
        section: Section::Culture,
        title: [
            "{In} домбыра үйірмесіне тіркелу басталды",
            "{In} началась запись в кружок домбры",
            "Enrolment begins for dombra lessons {in}",
        ],
        lead: [
            "Сабақтар аптасына үш рет кешке өтеді, аспапты сол жерден алуға болады. Жас шектеуі жоқ: былтыр ең үлкен оқушы жетпістен асқан еді.",
            "Занятия проходят трижды в неделю по вечерам, инструмент дадут на месте. Ограничений по возрасту нет: в прошлом году самому старшему ученику было за семьдесят.",
            "Lessons are held three evenings a week and instruments are provided. There is no age limit: last year the oldest pupil was over seventy.",
        ],
    },
    Topic {
        section: Section::Culture,
        title: [
            "{In} ескі фотосуреттер көрмесі ашылды",
            "{In} открылась выставка старых фотографий",
            "An exhibition of old photographs opens {in}",
        ],
        lead: [
            "Көрмеге тұрғындар үйлерінен әкелген екі жүзден астам сурет қойылды. Ең көнесі өткен ғасырдың басында түсірілген.",
            "На выставке больше двухсот снимков, которые жители принесли из домашних альбомов. Самый старый сделан в начале прошлого века.",
            "The exhibition shows more than two hundred pictures that residents brought from family albums. The oldest was taken at the beginning of the last century.",
        ],
    },
    Topic {
        section: Section::Culture,
        title: [
            "{In} аула театры жазғы маусымын ашты",
            "{In} дворовый театр открыл летний сезон",
            "A courtyard theatre opens its summer season {in}",
        ],
        lead: [
            "Қойылымдар демалыс күндері ашық аспан астында көрсетіледі, кіру тегін. Көрермендерден өз орындығын ала келу сұралады.",
            "Спектакли показывают по выходным под открытым небом, вход свободный. Зрителей просят приходить со своими стульями.",
            "Plays are performed in the open air at weekends, and admission is free. The audience is asked to bring their own chairs.",
        ],
    },
    Topic {
        section: Section::Economy,
        title: [
            "{In} қолөнершілер жәрмеңкесі өтеді",
            "{In} пройдёт ярмарка ремесленников",
            "A crafts fair will be held {in}",
        ],
        lead: [
            "Жәрмеңкеге сексенге жуық шебер қатысып, киіз, қыш және күміс бұйымдарын ұсынады. Сауда сенбі күні таңғы онда басталады.",
            "В ярмарке участвуют около восьмидесяти мастеров: войлок, керамика и серебро. Торговля начнётся в субботу в десять утра.",
            "About eighty makers of felt, pottery and silver take part in the fair. Stalls open on Saturday at ten in the morning.",
        ],
    },
    Topic {
        section: Section::Economy,
        title: [
            "{In} шағын наубайханалар саны артып келеді",
            "{In} растёт число небольших пекарен",
            "Small bakeries are multiplying {in}",
        ],
        lead: [
            "Бір жылда қалада он төрт жаңа наубайхана ашылды. Олардың көбі нанды ауылдағы диірменнен алынған ұннан пісіреді.",
            "За год в городе открылось четырнадцать новых пекарен. Большинство печёт хлеб из муки с соседней сельской мельницы.",
            "Fourteen new bakeries opened in the city within a year. Most of them use flour from a village mill nearby.",
        ],
    },
    Topic {
        section: Section::Economy,
        title: [
            "{In} көкөніс бағасы маусымға сай төмендеді",
            "{In} овощи подешевели к сезону",
            "Vegetable prices fall with the season {in}",
        ],
        lead: [
            "Орталық базарда қияр мен қызанақ былтырғы осы уақытпен салыстырғанда арзан. Сатушылар егіннің биыл ерте піскенін айтады.",
            "На центральном рынке огурцы и помидоры стоят дешевле, чем год назад. Продавцы говорят, что урожай в этом году созрел рано.",
            "Cucumbers and tomatoes at the central market cost less than a year ago. Traders say the harvest ripened early this year.",
        ],
    },
    Topic {
        section: Section::Economy,
        title: [
            "{In} жөндеу шеберханасы ескі тұрмыстық техникаға екінші өмір сыйлайды",
            "{In} мастерская даёт бытовой технике вторую жизнь",
            "A workshop gives household appliances a second life {in}",
        ],
        lead: [
            "Шеберхана айына үш жүзге жуық шаңсорғыш, шәйнек пен радионы жөндейді. Бөлшектердің көбі іске жарамсыз құралдардан алынады.",
            "Мастерская чинит около трёхсот пылесосов, чайников и радиоприёмников в месяц. Многие детали берут из техники, которую уже не спасти.",
            "The workshop repairs about three hundred vacuum cleaners, kettles and radios a month. Many parts come from machines beyond saving.",
        ],
    },
    Topic {
        section: Section::Education,
        title: [
            "{In} мектеп бағында алғашқы өнім жиналды",
            "{In} в школьном саду собрали первый урожай",
            "A school garden brings in its first harvest {in}",
        ],
        lead: [
            "Оқушылар үш жыл бұрын отырғызған алма ағаштары биыл жеміс берді. Өнімнің бір бөлігі мектеп асханасына берілді.",
            "Яблони, которые ученики посадили три года назад, впервые дали плоды. Часть урожая отдали школьной столовой.",
            "Apple trees planted by the pupils three years ago bore fruit for the first time. Part of the harvest went to the school canteen.",
        ],
    },
    Topic {
        section: Section::Education,
        title: [
            "{In} үлкендерге арналған тегін компьютер курстары басталды",
            "{In} начались бесплатные компьютерные курсы для старшего поколения",
            "Free computer courses for older residents begin {in}",
        ],
        lead: [
            "Тыңдаушылар бейнеқоңырау шалуды, қызметтерге онлайн жазылуды және алаяқтықтан сақтануды үйренеді. Топта он екі адамнан артық болмайды.",
            "Слушателей учат видеозвонкам, записи на приём через интернет и защите от мошенников. В группе не больше двенадцати человек.",
            "Participants learn to make video calls, book appointments online and protect themselves from fraud. Groups have no more than twelve people.",
        ],
    },
    Topic {
        section: Section::Education,
        title: [
            "{In} жас астрономдар түнгі аспанды бақылайды",
            "{In} юные астрономы наблюдают ночное небо",
            "Young astronomers watch the night sky {in}",
        ],
        lead: [
            "Үйірме мүшелері телескопты өз қолдарымен құрастырды. Аспан ашық түндері бақылауға кез келген адам келе алады.",
            "Участники кружка собрали телескоп своими руками. В ясные ночи на наблюдения может прийти любой желающий.",
            "Members of the club built the telescope with their own hands. On clear nights anyone may come and look.",
        ],
    },
    Topic {
        section: Section::Education,
        title: [
            "{In} мектептер арасында робот жарысы өтті",
            "{In} прошли школьные соревнования роботов",
            "Schools compete with robots {in}",
        ],
        lead: [
            "Жиырма алты команда кедергіден өтетін және заттарды сұрыптайтын роботтарын көрсетті. Жеңімпаздар облыстық кезеңге шықты.",
            "Двадцать шесть команд показали роботов, которые обходят препятствия и сортируют предметы. Победители вышли в областной этап.",
            "Twenty-six teams showed robots that avoid obstacles and sort objects. The winners go on to the regional round.",
        ],
    },
    Topic {
        section: Section::Sport,
        title: [
            "{In} аула футболының біріншілігі басталды",
            "{In} стартовало первенство по дворовому футболу",
            "The courtyard football championship begins {in}",
        ],
        lead: [
            "Біріншілікке отыз екі команда тіркелді, ойындар сенбі мен жексенбіде өтеді. Финал қалалық стадионда ойналады.",
            "На первенство записались тридцать две команды, игры проходят по субботам и воскресеньям. Финал сыграют на городском стадионе.",
            "Thirty-two teams have signed up, with games on Saturdays and Sundays. The final will be played at the city stadium.",
        ],
    },
    Topic {
        section: Section::Sport,
        title: [
            "{In} велосипед жолы он шақырымға ұзартылды",
            "{In} велодорожку продлили на десять километров",
            "The cycle path grows by ten kilometres {in}",
        ],
        lead: [
            "Жаңа бөлік өзен жағасымен өтіп, қала шетіндегі тоғайға дейін жетеді. Жол бойында сорғы мен су ішетін орындар бар.",
            "Новый участок идёт вдоль реки до рощи на окраине. По пути есть насосы и питьевая вода.",
            "The new stretch follows the river to the woods at the edge of town. There are pumps and drinking water along the way.",
        ],
    },
    Topic {
        section: Section::Sport,
        title: [
            "{In} мұз айдыны қыркүйекте ашылады",
            "{In} каток откроется в сентябре",
            "The ice rink will open in September {in}",
        ],
        lead: [
            "Айдын күн сайын тоғыз сеанс өткізеді, конькиді жалға алуға болады. Мектеп оқушылары таңғы уақытта тегін сырғанайды.",
            "Каток будет работать девять сеансов в день, коньки можно взять напрокат. Школьники утром катаются бесплатно.",
            "The rink will run nine sessions a day, and skates can be hired. Schoolchildren skate free in the mornings.",
        ],
    },
    Topic {
        section: Section::Sport,
        title: [
            "{In} мыңға жуық адам таңғы жүгіруге шықты",
            "{In} на утреннюю пробежку вышли около тысячи человек",
            "Nearly a thousand people turn out for a morning run {in}",
        ],
        lead: [
            "Қатысушылар бес және он шақырымдық қашықтықты таңдады. Мәреде барлығына шай мен бауырсақ берілді.",
            "Участники выбирали пять или десять километров. На финише всех угощали чаем и баурсаками.",
            "Runners chose between five and ten kilometres. Tea and baursaks waited for everyone at the finish.",
        ],
    },
    Topic {
        section: Section::Nature,
        title: [
            "{In} демалыс күндері жаңбыр күтіледі",
            "{In} в выходные ожидается дождь",
            "Rain is expected at the weekend {in}",
        ],
        lead: [
            "Синоптиктердің айтуынша, сенбі күні түстен кейін найзағайлы жаңбыр жауады, жел секундына он бес метрге дейін күшейеді. Жексенбіге қарай күн ашылады.",
            "По словам синоптиков, в субботу после обеда пройдёт дождь с грозой, ветер усилится до пятнадцати метров в секунду. К воскресенью прояснится.",
            "Forecasters say Saturday afternoon will bring rain and thunder, with wind of up to fifteen metres a second. It should clear by Sunday.",
        ],
    },
    Topic {
        section: Section::Nature,
        title: [
            "{In} еріктілер өзен жағасын тазалады",
            "{In} волонтёры очистили берег реки",
            "Volunteers clean up the river bank {in}",
        ],
        lead: [
            "Екі жүзге жуық адам екі сағатта алты жүз қап қоқыс жинады. Келесі сенбілік қазан айында өтеді.",
            "Около двухсот человек за два часа собрали шестьсот мешков мусора. Следующий субботник пройдёт в октябре.",
            "About two hundred people collected six hundred bags of rubbish in two hours. The next clean-up is planned for October.",
        ],
    },
    Topic {
        section: Section::Nature,
        title: [
            "{In} қызғалдақтар биыл ерте гүлдеді",
            "{In} тюльпаны в этом году зацвели рано",
            "Tulips bloom early this year {in}",
        ],
        lead: [
            "Ботаниктер мұны жылы көктеммен түсіндіреді. Гүлдерді жұлмай, тек суретке түсіріп қайтуды сұрайды.",
            "Ботаники объясняют это тёплой весной. Цветы просят не срывать, а только фотографировать.",
            "Botanists put it down to a warm spring. Visitors are asked to take pictures and leave the flowers.",
        ],
    },
    Topic {
        section: Section::Nature,
        title: [
            "{In} құс бақылаушылар қоқиқаз тобын көрді",
            "{In} наблюдатели за птицами заметили стаю фламинго",
            "Birdwatchers spot a flock of flamingos {in}",
        ],
        lead: [
            "Құстар қала маңындағы көлге екі күнге аялдады. Орнитологтар оларды алыстан, дүрбімен бақылауға кеңес береді.",
            "Птицы на два дня остановились на озере неподалёку от города. Орнитологи советуют смотреть на них издалека, в бинокль.",
            "The birds rested for two days on a lake near the city. Ornithologists advise watching them from afar, through binoculars.",
        ],
    },
];

pub(super) fn paragraphs(lang: Lang) -> &'static [&'static str] {
    match lang {
        Lang::Kazakh => KAZAKH,
        Lang::Russian => RUSSIAN,
        Lang::English => ENGLISH,
    }
}

const KAZAKH: &[&str] = &[
    "Тұрғындардың айтуынша, бұл өзгерісті көптен күткен. Бұрын мәселе жиналыстарда бірнеше рет көтерілгенімен, қаржы мен уақыт жетпей келген. Енді жұмыстың қалай жүріп жатқанын кез келген адам өз көзімен көре алады.",
    "Ұйымдастырушылар алғашқы айда пікір жинап, кестені соған қарай өзгертпек. Ұсыныстарды телефон арқылы да, хатпен де қабылдайды. Әр өтінішке жеті күн ішінде жауап беріледі деп уәде етілді.",
    "Көршілес аулалардың тұрғындары да қарап қалмады: біреуі құрал-сайман әкелді, біреуі шай қайнатты. Кешке қарай іс тынып, балалар алаңға жиналды. Мұндай күндер адамдарды жақындастыра түседі, дейді олар.",
    "Мамандар асықпауға кеңес береді. Олардың сөзінше, нәтижені бір маусымнан кейін ғана бағалауға болады. Сол себепті күзде тағы бір есеп беру кездесуі өтеді, оған барлық қалаушы шақырылады.",
    "Шығынның бір бөлігін жергілікті кәсіпкерлер өз мойнына алды. Қалған қаражат қала бюджетінде бұрыннан қарастырылған. Есеп ашық жарияланады, оны кітапханадан қағаз түрінде де алуға болады.",
    "Біз бірнеше адамнан не ойлайтынын сұрадық. Көбі жаңалыққа қуанышты, бірақ кейбірі көлік тұрағының азайғанына алаңдайды. Бұл мәселе бойынша бөлек талқылау келесі аптаға белгіленді.",
    "Таңертең мұнда тыныш, ал түстен кейін адам көбейеді. Дүкендер мен дәріханалар жақын жерде орналасқан, аялдамаға дейін бес минуттық жол. Балалар арбасын сүйреген ата-аналарға арналған пандус та бар.",
    "Былтырғы тәжірибе көп нәрсені үйретті. Ол кезде жұмыс ауа райына байланысты екі аптаға шегерілген еді. Биыл барлық материал алдын ала дайындалып, қоймаға жиналды.",
    "Еске салайық, осыған ұқсас жоба көрші қалада екі жылдан бері жүзеге асып келеді. Ондағы мамандар тәжірибе бөлісуге келіп, екі күн бойы кеңес берді. Олардың басты кеңесі қарапайым: тұрғындармен жиі сөйлесу керек.",
    "Жұмыс кестесі кіреберіске ілінген, онда қазақ және орыс тілдерінде толық ақпарат бар. Сұрағы барлар күн сайын таңғы тоғыздан кешкі алтыға дейін хабарласа алады. Демалыс күндері кезекші жауап береді.",
    "Жастар бұл жаңалықты бірден іліп әкетті. Олар суреттерін бөлісіп, достарын шақырып жатыр. Ал үлкендер баяғыда осы жерде бақ болғанын, кешкісін оркестр ойнағанын еске алады.",
    "Келер айда екінші кезең басталады. Оған дейін қажетті құжаттар дайындалып, орындаушы таңдалады. Редакция жұмыстың барысын бақылап, оқырмандарға хабарлап отырады.",
    "Қауіпсіздік мәселесі де назардан тыс қалмады. Жарық шамдары қозғалысты сезгенде ғана күшейеді, бұл электр қуатын үнемдейді. Бейнебақылау тек кіреберістерде орнатылған.",
    "Осы аптада ауа райы қолайлы болады деп күтіледі: күндіз жиырма екі градус жылы, түнде салқын. Желдің жылдамдығы секундына бес метрден аспайды. Сондықтан ұйымдастырушылар жоспарды өзгертпейді.",
];

const RUSSIAN: &[&str] = &[
    "Жители говорят, что ждали этих перемен давно. Раньше вопрос не раз поднимали на собраниях, но не хватало то денег, то времени. Теперь каждый может сам прийти и посмотреть, как идёт работа.",
    "Организаторы обещают весь первый месяц собирать отзывы и менять расписание с учётом пожеланий. Предложения принимают и по телефону, и письмом. На каждое обращение обещали отвечать в течение семи дней.",
    "Соседи тоже не остались в стороне: кто-то принёс инструменты, кто-то поставил чай. К вечеру всё было готово, и на площадке собрались дети. Такие дни, говорят здесь, сближают людей.",
    "Специалисты советуют не торопиться с выводами. По их словам, оценить результат можно будет только через сезон. Поэтому осенью проведут ещё одну встречу с отчётом, на которую приглашают всех желающих.",
    "Часть расходов взяли на себя местные предприниматели. Остальные средства были заложены в городском бюджете. Отчёт опубликуют открыто, на бумаге его можно будет взять в библиотеке.",
    "Мы спросили нескольких прохожих, что они об этом думают. Большинство радуется, но некоторых беспокоит, что стало меньше мест для стоянки. Отдельное обсуждение этого вопроса назначено на следующую неделю.",
    "По утрам здесь тихо, а после обеда людей становится больше. Рядом магазины и аптека, до остановки пять минут пешком. Для родителей с колясками сделан пандус.",
    "Прошлогодний опыт многому научил. Тогда из-за погоды работы пришлось отложить на две недели. В этом году все материалы подготовили заранее и сложили на складе.",
    "Напомним, похожий проект уже два года работает в соседнем городе. Его участники приезжали делиться опытом и два дня отвечали на вопросы. Главный их совет прост: чаще разговаривать с жителями.",
    "Расписание висит у входа, вся информация дана на казахском и русском языках. С вопросами можно обращаться ежедневно с девяти утра до шести вечера. По выходным отвечает дежурный.",
    "Молодёжь подхватила новость сразу: делятся снимками и зовут друзей. А старшие вспоминают, что когда-то на этом месте был сад и вечерами играл оркестр.",
    "В следующем месяце начнётся второй этап. До этого подготовят документы и выберут исполнителя. Редакция будет следить за ходом работ и рассказывать читателям.",
    "Не забыли и о безопасности. Фонари светят ярче, только когда кто-то проходит мимо, это экономит электричество. Камеры установлены лишь у входов.",
    "На этой неделе погода обещает быть подходящей: днём до двадцати двух градусов тепла, ночью прохладно. Ветер не сильнее пяти метров в секунду. Поэтому менять планы организаторы не собираются.",
];

const ENGLISH: &[&str] = &[
    "Residents say they have waited for this for a long time. The matter came up at meetings more than once, but there was never enough money or never enough time. Now anyone can come and see for themselves how the work is going. Several families from the neighbouring streets have already done so, and most of them intend to return with friends.",
    "The organisers promise to collect opinions throughout the first month and to adjust the timetable accordingly. Suggestions are welcome by telephone and by letter. Every message is to be answered within seven days. A summary of what people asked for will hang at the entrance, together with an explanation of what could be done and what could not.",
    "Neighbours did not stand aside either: some brought tools, others made tea. By evening everything was ready and the children had gathered. Days like this, people here say, bring everyone closer together. The next one has already been agreed upon, and this time the older pupils of the nearby school have offered to help with the heavy lifting.",
    "Specialists advise against hasty conclusions. According to them the result can only be judged after a full season. Another meeting is therefore planned for the autumn, and everyone is invited. Until then the figures will be collected every week in the same way, so that they can be compared honestly and without guesswork.",
    "Part of the cost was covered by local businesses. The rest had been set aside in the city budget. The accounts will be published in full, and a printed copy will be kept at the library. Anyone who finds a mistake in them is asked to say so; last year two such notes led to corrections that saved a noticeable sum.",
    "We asked several passers-by what they thought. Most were pleased, though some worry that there are now fewer places to park. A separate discussion of that question is set for next week. Among the ideas already on the table are a shared car park behind the market and a later closing hour for the courtyard gates.",
    "Mornings are quiet here, and after lunch it grows busier. Shops and a pharmacy are close by, and the bus stop is a five-minute walk away. There is a ramp for parents with prams. Those who come by bicycle will find covered racks on the shady side, a small convenience that visitors have praised more than anything else.",
    "Last year's experience taught everyone a good deal. Bad weather then delayed the work by two weeks. This year all the materials were prepared in advance and kept in a dry store. The crew also agreed on a simple rule: whatever can be finished today is finished today, because nobody can promise what tomorrow's sky will look like.",
    "A similar project has been running in a neighbouring city for two years. The people behind it came to share what they had learned and spent two days answering questions. Their main advice was simple: talk to residents often. Their second piece of advice was to write everything down, since memories differ and paper does not.",
    "The timetable hangs by the entrance, with full information in Kazakh and Russian. Questions are answered daily from nine in the morning until six in the evening. Someone is on duty at weekends. For those who read with difficulty there is a large-print version, and staff are glad to read it aloud to anyone who asks.",
    "Young people took to the news at once, sharing pictures and calling their friends. Their elders remember that there used to be a garden on this spot, and that an orchestra played there in the evenings. Some have brought old postcards to prove it, and there is talk of hanging copies of them along the path.",
    "The second stage begins next month. Before that the documents will be prepared and a contractor chosen. We will follow the work and keep our readers informed. If everything goes according to plan the last part should be complete before the first frost, and the opening will be marked with nothing more than tea and music.",
    "Safety has not been forgotten. The lamps grow brighter only when somebody walks past, which saves electricity. Cameras are installed at the entrances and nowhere else. A doctor's post will be open on the busiest days, and the way for an ambulance is kept clear at all hours, which was tested twice before the opening.",
    "The weather this week promises to be kind: twenty-two degrees by day and cool at night. The wind should not rise above five metres a second. The organisers see no reason to change their plans. Even so, a hall nearby has been reserved in case of rain, and everything needed can be carried there within an hour.",
];
