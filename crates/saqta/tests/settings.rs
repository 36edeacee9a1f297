//! Settings files and what is said about them.

use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;
use saqta::settings::{self, ANNOTATED};
use saqta_edge::lanes::AppKeys;
use saqta_edge::plan::{
    ForwardClientAddress, LanePlan, Language, Limits, Mode, Networks, Plan, Resolver,
};
use saqta_edge::profile::{Own, Profile, System};

const FILE: &str = "f";

fn read(text: &str) -> Result<Plan, String> {
    settings::read(text, Path::new(FILE)).map_err(|problems| {
        problems
            .iter()
            .map(|problem| format!("{problem}\n"))
            .collect()
    })
}

/// A site that is right, so that a table row need only hold what is wrong.
const SITE: &str = "[[site]]\nhosts = \"news.example\"\norigin = \"http://127.0.0.1:8081\"\n";

#[test]
fn the_smallest_file_runs_on_defaults() {
    let plan = read(SITE).unwrap();
    assert_eq!(plan.listen, ["127.0.0.1:8080".parse().unwrap()]);
    assert!(plan.shards >= 1);
    assert_eq!(plan.cache_bytes_max, 256 * 1024 * 1024);
    assert_eq!(plan.limits, Limits::default());
    assert_eq!((plan.any_host, plan.bypass), (None, false));
    assert!(plan.refuse.is_empty() && plan.trust_forwarded.is_empty());
    assert_eq!((plan.lanes.len(), plan.resolver), (0, Resolver::System));
    let [site] = plan.sites.as_slice() else {
        panic!("one site")
    };
    assert_eq!(
        (site.name.as_str(), site.hosts.as_slice()),
        ("news.example", &["news.example".to_owned()][..])
    );
    assert_eq!(
        (site.mode, site.language),
        (Mode::Observe, Language::English)
    );
    assert_eq!(site.forward_client_address, ForwardClientAddress::Full);
    assert_eq!(site.origin.authority.as_str(), "127.0.0.1:8081");
    assert!(site.origin.keep_host && site.origin.health_path.is_none() && site.staff.is_empty());
}

#[test]
fn everything_written_arrives() {
    let plan = read(
        r#"
listen = ["0.0.0.0:80", "[::]:80"]
shards = 3
refuse = ["203.0.113.0/24", "2001:db8::1"]
trust_forwarded = "10.0.0.1"
cache_mb = 64
line_mbit = 100
resolver = ["127.0.0.53", "[::1]:5353"]
[[lane]]
agent = "Our Probe"
networks = ["203.0.113.0/28", "2001:db8:7::/48"]
[limits]
connections_max = 100
connections_per_address_max = 50
header_bytes_max = 8192
header_fields_max = 64
header_timeout = "5s"
keep_alive_timeout = "1m"
body_mb_max = 2
body_rate_min = 100
write_rate_min = 200
h2_streams_max = 7
[[site]]
name = "A"
hosts = "ЖАҢА.example"
origin = "http://origin.internal"
staff = ["192.0.2.0/28"]
mode = "protect"
language = "kk"
forward_client_address = "none"
keep_host = false
connect_timeout = "200ms"
response_timeout = "9s"
idle_timeout = "8s"
concurrency_max = 5
health_path = "/ok?x=1"
profile = "joomla"
lifetime = "2m"
languages = ["KK", "ru"]
session_cookies = "who"
keyed_cookies = ["town", "pane_*"]
ignored_cookies = "seen_*"
private_paths = "/members/*"
content_parameters = "no"
ignored_parameters = "from"
obey_no_store = true
purge_from = "192.0.2.9"
purge_token = "a word of sixteen"
app_keys = ["0123456789abcdef", "fedcba9876543210"]
[[site]]
any_host = true
origin = "http://[::1]:9/"
"#,
    )
    .unwrap();
    assert_eq!(
        plan.listen,
        ["0.0.0.0:80".parse().unwrap(), "[::]:80".parse().unwrap()]
    );
    assert_eq!(
        (
            plan.shards,
            plan.cache_bytes_max,
            plan.line_mbit,
            plan.any_host,
        ),
        (3, 64 << 20, 100, Some(1))
    );
    assert_eq!(
        plan.resolver,
        Resolver::At(vec![
            "127.0.0.53:53".parse().unwrap(),
            "[::1]:5353".parse().unwrap()
        ])
    );
    let networks = ["203.0.113.0/28", "2001:db8:7::/48"].map(|network| network.parse().unwrap());
    let lane = LanePlan {
        agent: "Our Probe".to_owned(),
        networks: Networks(networks.to_vec()),
    };
    assert_eq!(plan.lanes, [lane]);
    assert_eq!(
        plan.refuse.0,
        [
            "203.0.113.0/24".parse().unwrap(),
            "2001:db8::1/128".parse().unwrap()
        ]
    );
    assert_eq!(plan.trust_forwarded.0, ["10.0.0.1/32".parse().unwrap()]);
    assert_eq!(
        plan.limits,
        Limits {
            connections_max: 100,
            connections_per_address_max: 50,
            header_bytes_max: 8192,
            header_fields_max: 64,
            header_timeout: Duration::from_secs(5),
            keep_alive_timeout: Duration::from_secs(60),
            body_bytes_max: 2 << 20,
            body_rate_min: 100,
            write_rate_min: 200,
            h2_streams_max: 7,
        }
    );
    let [first, second] = plan.sites.as_slice() else {
        panic!("two sites")
    };
    assert_eq!(
        (first.name.as_str(), first.hosts[0].as_str()),
        ("A", "xn--80aaq15b.example")
    );
    assert_eq!(first.staff.0, ["192.0.2.0/28".parse().unwrap()]);
    assert_eq!(
        (first.mode, first.language),
        (Mode::Protect, Language::Kazakh)
    );
    assert_eq!(first.forward_client_address, ForwardClientAddress::None);
    assert_eq!(first.origin.authority.as_str(), "origin.internal:80");
    assert!(!first.origin.keep_host);
    assert_eq!(first.origin.connect_timeout, Duration::from_millis(200));
    assert_eq!(first.origin.response_timeout, Duration::from_secs(9));
    assert_eq!(first.origin.idle_timeout, Duration::from_secs(8));
    assert_eq!(first.origin.concurrency_max, 5);
    assert_eq!(first.origin.health_path.as_deref(), Some("/ok?x=1"));
    let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let profile = Profile {
        system: System::Joomla,
        own: Own {
            session_cookies: list(&["who"]),
            keyed_cookies: list(&["town", "pane_*"]),
            ignored_cookies: list(&["seen_*"]),
            private_paths: list(&["/members/*"]),
            content_parameters: list(&["no"]),
            ignored_parameters: list(&["from"]),
            languages: list(&["kk", "ru"]),
            lifetime: Some(Duration::from_secs(120)),
            obey_no_store: true,
        },
    };
    assert_eq!(first.profile, profile);
    assert_eq!(second.profile, Profile::default());
    assert_eq!(first.purge.from.0, ["192.0.2.9/32".parse().unwrap()]);
    assert_eq!(first.purge.token.as_deref(), Some("a word of sixteen"));
    let keys = ["0123456789abcdef", "fedcba9876543210"];
    assert_eq!(first.app_keys, AppKeys::of(keys));
    assert!(second.app_keys.is_empty());
    assert_eq!((second.name.as_str(), second.hosts.len()), ("site", 0));
    assert_eq!(second.origin.authority.as_str(), "[::1]:9");
}

/// What stands above [`SITE`], and everything that is said.
const ABOVE_THE_SITE: &[(&str, &str)] = &[
    // Kinds, keys, spans of time.
    (
        "shards = \"2\"",
        "f:1: `shards` cannot be a text\n    write shards = 2\n",
    ),
    (
        "shards = 2.5",
        "f:1: `shards` cannot be a number with a fraction\n    write shards = a whole number\n",
    ),
    (
        "shards = 99999999999999999999",
        "f:1: `shards` is too large to count\n    write fewer digits after shards =\n",
    ),
    (
        "shards = 0",
        "f:1: `shards` is 0; it goes from 1 to 256\n    write shards = 1, or leave it out\n",
    ),
    (
        "listen = 8080",
        "f:1: `listen` cannot be a whole number\n    write listen = [\"…\"]; `saqta settings` has an example\n",
    ),
    (
        "refuse = [1]",
        "f:1: `refuse` cannot be a whole number\n    write \"…\"; `saqta settings` has an example\n",
    ),
    (
        "lsiten = \"0.0.0.0:80\"",
        "f:1: `lsiten` is not a setting of the top of the file\n    did you mean `listen`?\n",
    ),
    (
        "origin = \"x\"",
        "f:1: `origin` is not a setting of the top of the file\n    `origin` belongs to [[site]]; move it there\n",
    ),
    (
        "zzzzzzzz = 1",
        "f:1: `zzzzzzzz` is not a setting of the top of the file\n    take it out; the top of the file knows: listen, shards, refuse, trust_forwarded, cache_mb, disk_cache_gb, saved_gb, line_mbit, asn_file, country_file, resolver, limits, lane, site\n",
    ),
    (
        "limits = 3",
        "f:1: `limits` cannot be a whole number\n    write a section: [limits] on a line of its own\n",
    ),
    (
        "[limits]\nheader_timeout = 10",
        "f:2: `header_timeout` cannot be a whole number\n    write header_timeout = \"10s\"\n",
    ),
    (
        "[limits]\nheader_timeout = \"10\"",
        "f:2: `header_timeout` is \"10\", which is not a span of time\n    write the unit (ms, s, m or h) after the number, such as 10s\n",
    ),
    (
        "[limits]\nheader_timeout = \"5m\"",
        "f:2: `header_timeout` is 5m; it goes from 1s to 2m\n    write header_timeout = \"2m\", or leave it out\n",
    ),
    (
        "[limits]\nconnections_max = 100\nconnections_per_address_max = 200",
        "f:3: one address may have 200 connections, but all together only 100\n    write connections_per_address_max = 100 or less, or raise connections_max\n",
    ),
    (
        "cache_mb = 0",
        "f:1: `cache_mb` is 0; it goes from 1 to 1048576\n    write cache_mb = 1, or leave it out\n",
    ),
    (
        "line_mbit = 0",
        "f:1: `line_mbit` is 0; it goes from 1 to 800000\n    write line_mbit = 1, or leave it out\n",
    ),
    (
        "asn_file = \"/nowhere/asn.mmdb\"",
        "f:1: `asn_file` cannot be used: it cannot be read: no such file or directory\n    give a file in MaxMind's format (.mmdb) by its whole path, or leave it out; rules then name no provider and no country\n",
    ),
    (
        "country_file = \"Cargo.toml\"",
        "f:1: `country_file` cannot be used: it is no .mmdb file, or a damaged one\n    give a file in MaxMind's format (.mmdb) by its whole path, or leave it out; rules then name no provider and no country\n",
    ),
    // Visitors.
    (
        "resolver = []",
        "f:1: `resolver` is an empty list\n    write resolver = \"none\" to ask nobody, or leave it out\n",
    ),
    (
        "resolver = [\"none\", \"resolver.example\"]",
        "f:1: \"none\" in `resolver` is not an address\n    write an address, such as 127.0.0.53 or [::1]:5353; \"none\" alone asks nobody\n\
         f:1: \"resolver.example\" in `resolver` is not an address\n    write an address, such as 127.0.0.53 or [::1]:5353; \"none\" alone asks nobody\n",
    ),
    (
        "resolver = [\"::1\", \"::2\", \"::3\", \"::4\"]",
        "f:1: `resolver` has 4 entries; at most 3 are read\n    shorten the list\n",
    ),
    (
        "[[lane]]",
        "f:1: this [[lane]] has no `agent`\n    write agent = \"UptimeRobot\", or take the section out\n\
         f:1: this [[lane]] has no `networks`\n    write networks = [\"203.0.113.0/28\"], or take the section out\n",
    ),
    (
        "[[lane]]\nagnet = \"x\"\nnetworks = []",
        "f:1: this [[lane]] has no `networks`\n    write networks = [\"203.0.113.0/28\"], or take the section out\n\
         f:2: `agnet` is not a setting of [[lane]]\n    did you mean `agent`?\n",
    ),
    (
        "[[lane]]\nagent = \"1x\"\nnetworks = \"0.0.0.0/0\"",
        "f:2: `agent` cannot be \"1x\": 3 to 64 plain letters, digits and signs, a letter first\n    write the word by which it calls itself, such as UptimeRobot\n\
         f:3: 0.0.0.0/0 in `networks` is the whole Internet: whoever takes its name would count as this visitor\n    write the networks that are meant\n",
    ),
    // Listening.
    (
        "listen = []",
        "f:1: `listen` is an empty list\n    write listen = \"127.0.0.1:8080\", or leave it out\n",
    ),
    (
        "listen = \"80\"",
        "f:1: \"80\" is not an address with a port\n    write 0.0.0.0:80 to be reachable from everywhere, 127.0.0.1:80 from this machine only\n",
    ),
    (
        "listen = \":80\"",
        "f:1: \":80\" is not an address with a port\n    write 0.0.0.0:80 to be reachable from everywhere, 127.0.0.1:80 from this machine only\n",
    ),
    (
        "listen = \"::1\"",
        "f:1: \"::1\" is not an address with a port\n    write the port as well: [::1]:8080\n",
    ),
    (
        "listen = \"::1:80\"",
        "f:1: \"::1:80\" is not an address with a port\n    IPv6 stands in brackets: write [::1]:80\n",
    ),
    (
        "listen = \":::80\"",
        "f:1: \":::80\" is not an address with a port\n    IPv6 stands in brackets: write [::]:80\n",
    ),
    (
        "listen = \"[::]\"",
        "f:1: \"[::]\" is not an address with a port\n    write the port as well: [::]:8080\n",
    ),
    (
        "listen = \"*:80\"",
        "f:1: \"*:80\" is not an address with a port\n    write 0.0.0.0:80 to be reachable from everywhere, 127.0.0.1:80 from this machine only\n",
    ),
    (
        "listen = \"localhost:80\"",
        "f:1: \"localhost:80\" is not an address with a port\n    write 127.0.0.1:80\n",
    ),
    (
        "listen = \"http://0.0.0.0:80/\"",
        "f:1: \"http://0.0.0.0:80/\" is not an address with a port\n    write 0.0.0.0:80\n",
    ),
    (
        "listen = \"news.example:80\"",
        "f:1: \"news.example:80\" is not an address with a port\n    write the address in numbers: 0.0.0.0:80 listens on all of this machine's\n",
    ),
    (
        "listen = \"0.0.0.0:99999\"",
        "f:1: \"0.0.0.0:99999\" is not an address with a port\n    write an address and a port up to 65535, such as 0.0.0.0:80 or [::]:80\n",
    ),
    (
        "listen = [\n  \"0.0.0.0:80\",\n  \"0.0.0.0:80\",\n]",
        "f:3: 0.0.0.0:80 is listened on twice\n    take one out; the other is line 2\n",
    ),
    // Networks.
    (
        "refuse = \"10.1.0.0/255.255.0.0\"",
        "f:1: \"10.1.0.0/255.255.0.0\" in `refuse` is not a network\n    write 10.1.0.0/16\n",
    ),
    (
        "refuse = \" 10.0.0.1\"",
        "f:1: \" 10.0.0.1\" in `refuse` is not a network\n    write 10.0.0.1/32 without spaces\n",
    ),
    (
        "refuse = \"10.1.2.3/8\"",
        "f:1: 10.1.2.3/8 in `refuse` is an address inside a network\n    write 10.0.0.0/8 for the network, or 10.1.2.3 for the one address\n",
    ),
    (
        "refuse = \"10.0.0\"",
        "f:1: \"10.0.0\" in `refuse` is not a network\n    write an address, such as 203.0.113.7, or a network, such as 203.0.113.0/24 or 2001:db8::/32\n",
    ),
    (
        "refuse = [\"10.0.0.0/8\",\n\"10.1.0.0/16\"]",
        "f:2: 10.1.0.0/16 and 10.0.0.0/8 (line 1) overlap in `refuse`\n    take 10.1.0.0/16 out: it lies inside 10.0.0.0/8\n",
    ),
    (
        "refuse = [\"10.1.0.0/16\",\n\"10.0.0.0/8\"]",
        "f:2: 10.0.0.0/8 and 10.1.0.0/16 (line 1) overlap in `refuse`\n    take 10.1.0.0/16 out: it lies inside 10.0.0.0/8\n",
    ),
    (
        "refuse = [\"::1\",\n\"::1/128\"]",
        "f:2: ::1/128 is in `refuse` twice\n    take one out; the other is line 1\n",
    ),
    (
        "refuse = \"0.0.0.0/0\"",
        "f:1: 0.0.0.0/0 in `refuse` is the whole Internet: nobody would be served\n    write the networks that are meant\n",
    ),
    (
        "trust_forwarded = \"::/0\"",
        "f:1: ::/0 in `trust_forwarded` is the whole Internet: anybody could claim to be any client\n    write the networks that are meant\n",
    ),
    (
        "refuse = [\"::ffff:10.0.0.0/104\",\n\"::ffff:192.0.2.1\"]",
        "f:1: ::ffff:10.0.0.0/104 in `refuse` is IPv4 written as IPv6, and clients are compared as IPv4\n    write 10.0.0.0/8\n\
         f:2: ::ffff:192.0.2.1/128 in `refuse` is IPv4 written as IPv6, and clients are compared as IPv4\n    write 192.0.2.1/32\n",
    ),
    // Ourselves as origin.
    (
        "listen = \"0.0.0.0:8081\"",
        "f:4: the origin 127.0.0.1:8081 leads back to ourselves: we listen on 0.0.0.0:8081 (line 1)\n    let the newsroom's own server listen on another port, such as 8081, and write http://127.0.0.1:8081\n",
    ),
];

#[test]
fn problems_above_the_site() {
    for (above, said) in ABOVE_THE_SITE {
        assert_eq!(
            read(&format!("{above}\n{SITE}")).unwrap_err(),
            *said,
            "{above}"
        );
    }
}

/// What stands under `[[site]]` on line 1, and everything that is said.
const UNDER_THE_SITE: &[(&str, &str)] = &[
    (
        "",
        "f:1: this site has no hosts\n    write the names readers type: hosts = [\"news.example\", \"www.news.example\"]; or any_host = true for all\n\
         f:1: this site has no origin\n    write where the newsroom's own server listens: origin = \"http://127.0.0.1:8081\"\n",
    ),
    // What was written and not understood is not missing besides.
    (
        "hosts = 3\norigin = [\"http://a\"]",
        "f:2: `hosts` cannot be a whole number\n    write hosts = [\"…\"]; `saqta settings` has an example\n\
         f:3: `origin` cannot be a list\n    write origin = \"…\"\n",
    ),
    (
        "hots = \"news.example\"\norign = \"http://a\"",
        "f:2: `hots` is not a setting of [[site]]\n    did you mean `hosts`?\n\
         f:3: `orign` is not a setting of [[site]]\n    did you mean `origin`?\n",
    ),
    (
        "hots = \"news.example\"\norigin = \"http://a\"\nany_host = true",
        "f:2: `hots` is not a setting of [[site]]\n    did you mean `hosts`?\n",
    ),
    (
        "any_host = true\norigin = \"http://a\"\nprofile = \"wordpres\"\nlifetime = \"2000h\"\nlanguages = [\"kk\", \"kazakh language\", \"KK\", \"kz\"]",
        "f:4: `profile` cannot be \"wordpres\"\n    write profile = \"generic\" or \"wordpress\" or \"drupal\" or \"joomla\"\n\
         f:5: `lifetime` is 2000h; it goes from 1s to 24h\n    write lifetime = \"24h\", or leave it out\n\
         f:6: \"kazakh language\" in `languages` is not a language\n    write the tags browsers use: languages = [\"kk\", \"ru\", \"en\"]\n\
         f:6: \"KK\" is in `languages` twice\n    take one out\n\
         f:6: \"kz\" in `languages` is a country: browsers call Kazakh kk\n    write languages = [\"kk\", …]\n",
    ),
    (
        "any_host = true\norigin = \"http://a\"\nsession_cookies = [\"a\", \"*\"]\nkeyed_cookies = \"a\"\nignored_cookies = \"a=b\"\nprivate_paths = \"members\"\nignored_parameters = \"?from\"",
        "f:4: \"*\" in `session_cookies` means every one\n    write its name as browsers send it, such as \"my_session\", or the beginning of several and a star: \"my_*\"\n\
         f:5: \"a\" is in `keyed_cookies` and in `session_cookies` (line 4)\n    take one of the two out\n\
         f:6: \"a=b\" in `ignored_cookies` is not a cookie\n    write its name as browsers send it, such as \"my_session\", or the beginning of several and a star: \"my_*\"\n\
         f:7: \"members\" in `private_paths` is not a path\n    write it from its first slash, such as \"/members\", or with all below it: \"/members/*\"\n\
         f:8: \"?from\" in `ignored_parameters` is not a parameter\n    write its name alone, such as \"from\", or the beginning of several and a star: \"from_*\"\n",
    ),
    (
        "any_host = true\norigin = \"http://a\"\nmode = \"on\"",
        "f:4: `mode` cannot be \"on\"\n    write mode = \"observe\" or \"protect\"\n",
    ),
    (
        "any_host = true\norigin = \"http://a\"\nlanguage = \"kz\"",
        "f:4: `language` cannot be \"kz\"\n    write language = \"kk\" or \"ru\" or \"en\"\n",
    ),
    (
        "any_host = 1\nhosts = \"a.example\"\norigin = \"http://a\"",
        "f:2: `any_host` cannot be a whole number\n    write any_host = true, or any_host = false\n",
    ),
    (
        "any_host = true\norigin = \"http://a\"\nhealth_path = \"robots.txt\"",
        "f:4: `health_path` \"robots.txt\" is not a path\n    write one that begins with / and is cheap for the origin, such as /robots.txt\n",
    ),
    (
        "any_host = true\norigin = \"http://a\"\nname = \"\"",
        "f:4: a site cannot be called \"\"\n    write 1 to 64 letters on one line, or leave `name` out\n",
    ),
    (
        "any_host = true\norigin = \"http://a\"\npurge_token = \"short\"",
        "f:4: `purge_token` is no word of 16 to 128 letters, digits and signs\n    write what `openssl rand -hex 16` prints, and the same in the plugin\n",
    ),
    (
        "any_host = true\norigin = \"http://a\"\nstaff = \"0.0.0.0/0\"",
        "f:4: 0.0.0.0/0 in `staff` is the whole Internet: every reader would count as staff\n    write the networks that are meant\n",
    ),
    (
        "hosts = [\"news.example\", \"News.example:80\",\n  \"news.EXAMPLE\"]\norigin = \"http://a\"",
        "f:2: the host \"News.example:80\" has a port (80)\n    write News.example: a host answers on every port we listen on\n\
         f:3: the host news.example is written twice\n    take one out\n",
    ),
    (
        "any_host = true\norigin = \"http://a\"\napp_keys = [\"0123456789abcdef\",\n  \"0123456789abcde\",\n  \"0123456789 abcdef\"]",
        "f:5: the key number 2 in `app_keys` is no word of 16 to 128 letters, digits and signs\n    write what `saqta app-key` prints, and the same in the application\n\
         f:6: the key number 3 in `app_keys` is no word of 16 to 128 letters, digits and signs\n    write what `saqta app-key` prints, and the same in the application\n",
    ),
    (
        "any_host = true\norigin = \"http://a\"\napp_keys = [\"0123456789abcde1\", \"0123456789abcde2\", \"0123456789abcde3\", \"0123456789abcde4\", \"0123456789abcde5\", \"0123456789abcde6\", \"0123456789abcde7\", \"0123456789abcde8\", \"0123456789abcde9\"]",
        "f:4: `app_keys` has 9 entries; at most 8 are read\n    take out those that no copy of the application in use has\n",
    ),
    // The origin.
    (
        "any_host = true\norigin = \"127.0.0.1:81\"",
        "f:3: the origin does not begin with http://\n    write http://127.0.0.1:81\n",
    ),
    (
        "any_host = true\norigin = \"8081\"",
        "f:3: the origin does not begin with http://\n    write http://127.0.0.1:8081\n",
    ),
    (
        "any_host = true\norigin = \":8081\"",
        "f:3: the origin does not begin with http://\n    write http://127.0.0.1:8081\n",
    ),
    (
        "any_host = true\norigin = \"http:/a.kz\"",
        "f:3: the origin does not begin with http://\n    write http:// and where the newsroom's own server listens, such as http://127.0.0.1:8081\n",
    ),
    (
        "any_host = true\norigin = \"http://a.kz.:81\"",
        "f:3: the origin \"a.kz.:81\" is not a host with a port\n    write http://a.kz:81\n",
    ),
    (
        "any_host = true\norigin = \"http://a.kz:99999\"",
        "f:3: the origin \"a.kz:99999\" is not a host with a port\n    write a port from 1 to 65535 after the last colon\n",
    ),
    (
        "any_host = true\norigin = \"http://::1:81\"",
        "f:3: the origin \"::1:81\" is not a host with a port\n    IPv6 stands in brackets: write http://[::1]:81\n",
    ),
    (
        "any_host = true\norigin = \"http://u:pass/word@a\"",
        "f:3: the origin has a user name or password in it\n    write it without: whoever may use the origin is the origin's own affair\n",
    ),
    (
        "any_host = true\norigin = \"http://a\"\nbackend = \"http://a\"",
        "f:4: `backend` is not a setting of [[site]]\n    did you mean `origin` under [[site]]?\n",
    ),
    (
        "any_host = true\norigin = \"https://a\"",
        "f:3: the origin is https, which comes later\n    for now let it listen without TLS on this machine or a private network, and write http:// and that address\n",
    ),
    (
        "any_host = true\norigin = \"http://user:secret@a/\"",
        "f:3: the origin has a user name or password in it\n    write it without: whoever may use the origin is the origin's own affair\n",
    ),
    (
        "any_host = true\norigin = \"http://a?x\"",
        "f:3: the origin has a query\n    write http://a alone: the query is what the reader asks for\n",
    ),
    (
        "any_host = true\norigin = \"http://a/blog\"",
        "f:3: the origin has a path\n    write http://a alone: the path is what the reader asks for\n",
    ),
    (
        "any_host = true\norigin = \"http://a:0\"",
        "f:3: the origin \"a:0\" is not a host with a port\n    write a port from 1 to 65535 after the last colon\n",
    ),
    (
        "any_host = true\norigin = \"unix:/run/php.sock\"",
        "f:3: the origin does not begin with http://\n    write http:// and where the newsroom's own server listens, such as http://127.0.0.1:8081\n",
    ),
    (
        "any_host = true\norigin = \"http://localhost:8080\"",
        "f:3: the origin localhost:8080 leads back to ourselves: we listen on 127.0.0.1:8080 (unless told otherwise)\n    let the newsroom's own server listen on another port, such as 8081, and write http://127.0.0.1:8081\n",
    ),
];

#[test]
fn problems_under_the_site() {
    for (under, said) in UNDER_THE_SITE {
        assert_eq!(
            read(&format!("[[site]]\n{under}\n")).unwrap_err(),
            *said,
            "{under}"
        );
    }
}

/// Whole files, and everything that is said.
const FILES: &[(&str, &str)] = &[
    (
        "",
        "f: there is no site to protect\n    write a line [[site]], and under it hosts = [\"news.example\"] and origin = \"http://127.0.0.1:8081\"\n",
    ),
    (
        "[site]\nhosts = \"a.example\"\norigin = \"http://a\"\n",
        "f:1: `[site]` has single brackets\n    write [[site]]: there may be several\n",
    ),
    // Not TOML: its syntax, all of it, and nothing guessed about the rest.
    (
        "listen = \nshards = 2\ncache_mb = = 1\n",
        "f:1: not TOML: string values must be quoted, expected literal string\n    mend this line: key = \"text\", key = 8 or key = [\"one\", \"two\"]; the rest is checked once the file can be read\n\
         f:3: not TOML: extra `=`, expected nothing\n    mend this line: key = \"text\", key = 8 or key = [\"one\", \"two\"]; the rest is checked once the file can be read\n",
    ),
    (
        "shards = 1\nshards = 2\n",
        "f:2: not TOML: duplicate key\n    `shards` stands twice in its section: take one out, or begin a new [[site]] above it; the rest is checked once the file can be read\n",
    ),
    (
        "listen = 0.0.0.0:80\n",
        "f:1: not TOML: invalid float, expected nothing\n    put quotes round a text: listen = \"0.0.0.0:80\"; the rest is checked once the file can be read\n",
    ),
    (
        "listen = “0.0.0.0:80”\n",
        "f:1: not TOML: string values must be quoted, expected literal string\n    write straight quotes: \"…\"; the rest is checked once the file can be read\n",
    ),
    (
        "[[site]\n",
        "f:1: not TOML: unclosed array table, expected `]`\n    a section is [limits], [[lane]] or [[site]], with as many brackets behind as before; the rest is checked once the file can be read\n",
    ),
    (
        "[[site]]\nhosts = [\"a.kz\"\n",
        "f:2: not TOML: unclosed array, expected `]`\n    close the list with ] and put a comma between two entries; the rest is checked once the file can be read\n",
    ),
    (
        "server {\n",
        "f:1: not TOML: key with no value, expected `=`\n    this is another program's notation; `saqta settings` prints how a file looks; the rest is checked once the file can be read\n",
    ),
    // Sites beside each other.
    (
        "[[site]]\nname = \"one\"\nhosts = [\"a.example\", \"b.example\"]\norigin = \"http://a\"\nany_host = true\n\
         [[site]]\nname = \"one\"\nhosts = \"B.example\"\norigin = \"http://b\"\nany_host = true\n",
        "f:6: two sites are called \"one\" (the other: line 1)\n    write a name = \"…\" of its own under each [[site]]\n\
         f:8: the host b.example already belongs to the site \"one\" (line 3)\n    take it out of one of the two\n\
         f:10: two sites have any_host = true (the other: line 5)\n    leave it with one of them\n",
    ),
    // Who has no host that can be read has no name to share.
    (
        "[[site]]\nhosts = \"a b\"\norigin = \"http://a\"\n[[site]]\nhosts = 4\norigin = \"http://b\"\n",
        "f:2: the host \"a b\" has a space in it\n    write each name as a text of its own: [\"a.example\", \"b.example\"]\n\
         f:5: `hosts` cannot be a whole number\n    write hosts = [\"…\"]; `saqta settings` has an example\n",
    ),
    (
        "site = 3\n",
        "f:1: `site` cannot be a whole number\n    write a section: [[site]] on a line of its own\n",
    ),
    (
        "refuse = [\"203.0.113.0/24\"]\n[[site]]\nhosts = \"a.example\"\norigin = \"http://a\"\nstaff = \"203.0.113.9\"\n",
        "f:5: staff in 203.0.113.9/32 would be refused: `refuse` (line 1) has 203.0.113.0/24\n    take one of the two out\n",
    ),
    (
        "listen = \"0.0.0.0:80\"\n[[site]]\nhosts = \"news.example\"\norigin = \"http://news.example\"\n",
        "f:4: the origin news.example:80 leads back to ourselves: we listen on 0.0.0.0:80 (line 1)\n    let the newsroom's own server listen on another port, such as 8081, and write http://127.0.0.1:8081\n",
    ),
    // Many at once, in the order of the file.
    (
        "listen = \"80\"\nshard = 2\nrefuse = [\"10.0.0.1/8\"]\n[limit]\nheader_timeout = 3\n[[site]]\norigin = \"https://a\"\nmode = \"observ\"\nport = 80\n",
        "f:1: \"80\" is not an address with a port\n    write 0.0.0.0:80 to be reachable from everywhere, 127.0.0.1:80 from this machine only\n\
         f:2: `shard` is not a setting of the top of the file\n    did you mean `shards`?\n\
         f:3: 10.0.0.1/8 in `refuse` is an address inside a network\n    write 10.0.0.0/8 for the network, or 10.0.0.1 for the one address\n\
         f:4: `limit` is not a setting of the top of the file\n    did you mean `limits`?\n\
         f:6: this site has no hosts\n    write the names readers type: hosts = [\"news.example\", \"www.news.example\"]; or any_host = true for all\n\
         f:7: the origin is https, which comes later\n    for now let it listen without TLS on this machine or a private network, and write http:// and that address\n\
         f:8: `mode` cannot be \"observ\"\n    write mode = \"observe\" or \"protect\"\n\
         f:9: `port` is not a setting of [[site]]\n    take it out; [[site]] knows: name, hosts, any_host, origin, staff, mode, language, forward_client_address, keep_host, connect_timeout, response_timeout, idle_timeout, concurrency_max, health_path, profile, lifetime, languages, session_cookies, keyed_cookies, ignored_cookies, private_paths, content_parameters, ignored_parameters, obey_no_store, purge_from, purge_token, saved, known_readers, app_keys\n",
    ),
];

#[test]
fn problems_of_whole_files() {
    for (text, said) in FILES {
        assert_eq!(read(text).unwrap_err(), *said, "{text}");
    }
}

#[test]
fn an_origin_is_ourselves_when_connecting_to_it_ends_at_a_listener() {
    let table = [
        ("127.0.0.1:81", "127.0.0.1:81", true),
        ("127.0.0.1:81", "0.0.0.0:81", true),
        ("0.0.0.0:81", "127.0.0.1:81", true),
        ("0.0.0.0:81", "127.9.9.9:81", true),
        ("0.0.0.0:81", "localhost:81", true),
        ("[::1]:81", "localhost:81", true),
        ("[::]:81", "[::1]:81", true),
        ("[::]:81", "127.0.0.1:81", false),
        ("0.0.0.0:81", "[::1]:81", false),
        ("127.0.0.1:81", "127.0.0.2:81", false),
        ("127.0.0.1:81", "127.0.0.1:82", false),
        ("0.0.0.0:81", "192.0.2.1:81", false),
        ("0.0.0.0:81", "origin.internal:81", false),
    ];
    for (listen, origin, ours) in table {
        let text = format!(
            "listen = \"{listen}\"\n[[site]]\nany_host = true\norigin = \"http://{origin}\"\n"
        );
        assert_eq!(read(&text).is_err(), ours, "{listen} {origin}");
    }
}

#[test]
fn flags_are_read_as_strictly_as_a_file() {
    let list = |texts: &[&str]| {
        texts
            .iter()
            .map(|&text| text.to_owned())
            .collect::<Vec<_>>()
    };
    let plan = settings::of_flags("http://127.0.0.1:8081", &[], &[]).unwrap();
    assert_eq!(
        (plan.any_host, plan.sites[0].mode, plan.sites[0].hosts.len()),
        (Some(0), Mode::Protect, 0)
    );
    let plan = settings::of_flags(
        "http://127.0.0.1:8081",
        &list(&["127.0.0.1:0", "127.0.0.2:0"]),
        &list(&["news.example"]),
    )
    .unwrap();
    assert_eq!(
        (plan.any_host, plan.listen.len(), plan.sites[0].hosts.len()),
        (None, 2, 1)
    );

    let table: &[(&str, &[&str], &[&str], &str)] = &[
        (
            "127.0.0.1:81",
            &[],
            &[],
            "--origin: the origin does not begin with http://\n    write http://127.0.0.1:81\n",
        ),
        (
            "http://a",
            &["80"],
            &["a:1"],
            "--host: the host \"a:1\" has a port (1)\n    write a: a host answers on every port we listen on\n\
             --listen: \"80\" is not an address with a port\n    write 0.0.0.0:80 to be reachable from everywhere, 127.0.0.1:80 from this machine only\n",
        ),
        (
            "http://localhost:8080",
            &[],
            &[],
            "--origin: the origin localhost:8080 leads back to ourselves: we listen on 127.0.0.1:8080 (unless told otherwise)\n    let the newsroom's own server listen on another port, such as 8081, and write http://127.0.0.1:8081\n",
        ),
    ];
    for (origin, listen, hosts, said) in table {
        let problems = settings::of_flags(origin, &list(listen), &list(hosts)).unwrap_err();
        let heard: String = problems
            .iter()
            .map(|problem| format!("{problem}\n"))
            .collect();
        assert_eq!(heard, *said, "{origin}");
    }
}

/// What runs, what the file says now, and everything that is said about what only a restart can change.
const AGAIN: &[(&str, &str, &str)] = &[
    ("", "", ""),
    (
        "listen = [\"127.0.0.1:0\", \"127.0.0.2:0\"]\n",
        "listen = [\"127.0.0.2:0\", \"127.0.0.1:0\"]\n",
        "",
    ),
    (
        "shards = 2\ncache_mb = 64\nlisten = \"127.0.0.1:81\"\n",
        "listen = [\"127.0.0.1:82\",\n  \"127.0.0.1:83\"]\nshards = 3\ncache_mb = 65\n[[site]]\nhosts = \"b.example\"\norigin = \"http://b\"\n",
        "f:1: `listen` is now \"127.0.0.1:82\", \"127.0.0.1:83\"; what runs has \"127.0.0.1:81\"\n    restart Saqta to change it, or write listen = [\"127.0.0.1:81\"] and reload\n\
         f:3: `shards` is now 3; what runs has 2\n    restart Saqta to change it, or write shards = 2 and reload\n\
         f:4: `cache_mb` is now 65; what runs has 64\n    restart Saqta to change it, or write cache_mb = 64 and reload\n\
         f:8: the file has 2 [[site]]; what runs has 1\n    restart Saqta to change it, or keep to 1 and reload\n",
    ),
    // Left out, a setting has its default, which is a change as well.
    (
        "cache_mb = 64\nlisten = \"127.0.0.1:81\"\n",
        "",
        "f: `listen` is now \"127.0.0.1:8080\"; what runs has \"127.0.0.1:81\"\n    restart Saqta to change it, or write listen = [\"127.0.0.1:81\"] and reload\n\
         f: `cache_mb` is now 256; what runs has 64\n    restart Saqta to change it, or write cache_mb = 64 and reload\n",
    ),
    (
        "[[site]]\nhosts = \"b.example\"\norigin = \"http://b\"\n",
        "",
        "f: the file has 1 [[site]]; what runs has 2\n    restart Saqta to change it, or keep to 2 and reload\n",
    ),
    // A value that is wrong is said to be wrong, and not to be another one besides.
    (
        "cache_mb = 64\nshards = 2\n",
        "cache_mb = 0\nlisten = [\"80\",\n  \"127.0.0.1:81\"]\nshards = 3\nx = 1\n",
        "f:1: `cache_mb` is 0; it goes from 1 to 1048576\n    write cache_mb = 1, or leave it out\n\
         f:2: \"80\" is not an address with a port\n    write 0.0.0.0:80 to be reachable from everywhere, 127.0.0.1:80 from this machine only\n\
         f:4: `shards` is now 3; what runs has 2\n    restart Saqta to change it, or write shards = 2 and reload\n\
         f:5: `x` is not a setting of the top of the file\n    take it out; the top of the file knows: listen, shards, refuse, trust_forwarded, cache_mb, disk_cache_gb, saved_gb, line_mbit, asn_file, country_file, resolver, limits, lane, site\n",
    ),
];

#[test]
fn what_only_a_restart_changes_is_said_all_at_once() {
    for (runs, says_now, said) in AGAIN {
        let running = read(&format!("{runs}{SITE}")).unwrap();
        let heard =
            match settings::read_again(&format!("{says_now}{SITE}"), Path::new(FILE), &running) {
                Ok(plan) => {
                    assert_eq!(plan.listen, running.listen, "{says_now}");
                    String::new()
                }
                Err(problems) => problems
                    .iter()
                    .map(|problem| format!("{problem}\n"))
                    .collect(),
            };
        assert_eq!(heard, *said, "{says_now}");
    }
}

#[test]
fn the_list_of_problems_is_bounded() {
    let text: String = (0..5000).map(|n| format!("unknown_{n} = 1\n")).collect();
    let problems = settings::read(&text, Path::new(FILE)).unwrap_err();
    assert_eq!(problems.len(), 51);
    assert!(
        problems[50].what.ends_with("more problems are not shown"),
        "{}",
        problems[50]
    );
    let problems = settings::read(&" ".repeat(2 << 20), Path::new(FILE)).unwrap_err();
    assert_eq!(problems.len(), 1);
}

/// `settings.toml` with every default written out.
fn annotated_in_full() -> String {
    let is_default = |line: &str| {
        line.strip_prefix('#').is_some_and(|rest| {
            rest.starts_with("[[")
                || rest.starts_with(|c: char| c.is_ascii_lowercase()) && rest.contains(" = ")
        })
    };
    ANNOTATED
        .lines()
        .map(|line| if is_default(line) { &line[1..] } else { line })
        .flat_map(|line| [line, "\n"])
        .collect()
}

#[test]
fn the_annotated_file_holds_every_setting_and_the_real_defaults() {
    let as_shipped = read(ANNOTATED).unwrap();
    let mut in_full = read(&annotated_in_full()).unwrap();
    // Three lines show an example and say what leaving them out means.
    in_full.shards = as_shipped.shards;
    assert_eq!(
        in_full.sites[0].origin.health_path.take().as_deref(),
        Some("/robots.txt")
    );
    // "generic" has no lifetime of its own.
    assert_eq!(
        in_full.sites[0].profile.own.lifetime.take(),
        Some(Duration::from_secs(60))
    );
    assert!(in_full.sites[0].purge.token.take().is_some());
    // An example as well, and the machine's own resolver is what leaving it out means.
    assert_eq!(in_full.lanes.drain(..).count(), 1);
    in_full.resolver = as_shipped.resolver.clone();
    assert_eq!(in_full, as_shipped);

    let written: toml::Table = annotated_in_full().parse().unwrap();
    for (section, keys) in settings::SECTIONS {
        let section = match *section {
            "[limits]" => written["limits"].as_table().unwrap(),
            "[[lane]]" => written["lane"][0].as_table().unwrap(),
            "[[site]]" => written["site"][0].as_table().unwrap(),
            _ => &written,
        };
        let mut missing: Vec<_> = keys
            .iter()
            .filter(|key| !section.contains_key(**key))
            .collect();
        missing.sort();
        assert!(missing.is_empty(), "settings.toml lacks {missing:?}");
    }
}

#[test]
fn the_example_is_right() {
    let plan = read(include_str!("../examples/newsroom.toml")).unwrap();
    assert_eq!(plan.sites.len(), 2);
    assert_eq!(plan.sites[0].hosts[0], "xn--80aaqw4fuxvb.example");
}

/// The page about settings shows the annotated file word for word, and every other TOML block in it is a file that runs.
#[test]
fn the_page_shows_the_annotated_file() {
    let page = include_str!("../../../docs/settings.md");
    let blocks: Vec<&str> = page
        .split("```toml\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .collect();
    assert!(
        blocks.contains(&ANNOTATED),
        "copy crates/saqta/src/settings.toml into docs/settings.md"
    );
    for block in blocks {
        assert_eq!(read(block).err(), None, "{block}");
    }
}

proptest! {
    #[test]
    fn no_text_makes_reading_panic(text in "\\PC{0,400}") {
        if let Err(said) = read(&text) {
            prop_assert!(!said.is_empty());
        }
    }

    /// Lines that are nearly right reach further than noise does.
    #[test]
    fn no_mixture_of_lines_makes_reading_panic(
        lines in prop::collection::vec((0usize..60, "[-a-z0-9:/.\\[\\]\"'яқ \\\\]{0,20}", 0u8..4), 0..40)
    ) {
        let full = annotated_in_full();
        let known: Vec<&str> = full.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).collect();
        let mut text = String::new();
        for (at, noise, kind) in &lines {
            let line = known[at % known.len()];
            match kind {
                0 => text.push_str(line),
                1 => text.push_str(&format!("{} = \"{noise}\"", line.split(" =").next().unwrap_or(""))),
                2 => text.push_str(&format!("{} = [{noise}]", line.split(" =").next().unwrap_or(""))),
                _ => text.push_str(noise),
            }
            text.push('\n');
        }
        if let Err(problems) = settings::read(&text, Path::new(FILE)) {
            prop_assert!(!problems.is_empty());
            prop_assert!(problems.iter().all(|problem| !problem.remedy.is_empty()));
        }
    }
}
