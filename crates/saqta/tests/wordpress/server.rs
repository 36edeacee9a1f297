//! Debian's WordPress, put up for one test: its files copied, a database of its own, PHP and nginx with configurations of their own, all
//! in one folder, on sockets in it and one port of loopback. Nothing of the machine's own servers is touched, and whatever was started is
//! stopped by its id.

use std::fs;
use std::io::{BufRead, BufReader, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::http::Client;
use super::{EDITOR, HOST, PASSWORD};

/// Between two looks at a server that starts, and how often it is looked at: MariaDB makes its files first.
const LOOK_EVERY: Duration = Duration::from_millis(50);
const LOOKS_MAX: usize = 600;

/// One program of the stage; ended by its id when dropped.
pub(crate) struct Program(Child);

impl Program {
    fn start(command: &mut Command, log: &Path) -> Self {
        let log = fs::File::create(log).unwrap();
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| {
                panic!(
                    "{}: {error}; `cargo x test` installs it",
                    command.get_program().display()
                )
            });
        Self(child)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let pid = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid {
            let _gone_already = kill_process(pid, Signal::TERM);
        }
        let _its_end = self.0.wait();
    }
}

/// Taken away with everything in it.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        // A browser's helpers outlive it for a moment, and write.
        for _ in 0..LOOKS_MAX {
            match fs::remove_dir_all(&self.0) {
                Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => sleep(LOOK_EVERY),
                _gone_or_never_there => return,
            }
        }
    }
}

pub(crate) struct WordPress {
    pub(crate) address: SocketAddr,
    nginx: Option<Program>,
    _php: Program,
    _database: Program,
}

impl WordPress {
    pub(crate) fn install(folder: &Path) -> Self {
        let site = folder.join("site");
        run(Command::new("cp")
            .args(["--recursive", "--dereference", "/usr/share/wordpress"])
            .arg(&site));
        let database = database(folder);
        fs::write(site.join("wp-config.php"), config(folder)).unwrap();
        let php = php(folder);
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let nginx = nginx(folder, port);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let installed = Client::new(address).form(
            "/wp-admin/install.php?step=2",
            &[
                ("weblog_title", "Saqta News"),
                ("user_name", EDITOR),
                ("admin_password", PASSWORD),
                ("admin_password2", PASSWORD),
                ("pw_weak", "1"),
                ("admin_email", "editor@news.test"),
                ("blog_public", "1"),
                ("language", ""),
            ],
        );
        assert!(
            installed.text().contains("Success!"),
            "WordPress does not install: {}",
            installed.told()
        );
        // An installer that can reach its own site finds out by itself that addresses with names work.
        query(
            folder,
            "update wordpress.wp_options set option_value = '/%year%/%monthnum%/%postname%/' where option_name = 'permalink_structure'",
        );
        Self {
            address,
            nginx: Some(nginx),
            _php: php,
            _database: database,
        }
    }

    /// The newsroom's web server is gone, and whoever connects is refused.
    pub(crate) fn die(&mut self) {
        self.nginx = None;
    }
}

fn database(folder: &Path) -> Program {
    let data = folder.join("db");
    let user = whoami();
    run(Command::new("mariadb-install-db")
        .args([
            "--no-defaults",
            "--skip-test-db",
            "--auth-root-authentication-method=normal",
        ])
        .arg(format!("--user={user}"))
        .arg(format!("--datadir={}", data.display())));
    let socket = folder.join("db.sock");
    let server = Program::start(
        Command::new("/usr/sbin/mariadbd")
            .args([
                "--no-defaults",
                "--skip-networking",
                "--innodb-buffer-pool-size=32M",
            ])
            // What is lost with the machine is the test's.
            .arg("--innodb-flush-log-at-trx-commit=0")
            .arg(format!("--user={user}"))
            .arg(format!("--datadir={}", data.display()))
            .arg(format!("--pid-file={}", folder.join("db.pid").display()))
            .arg(format!("--socket={}", socket.display())),
        &folder.join("db.log"),
    );
    wait("MariaDB", || UnixStream::connect(&socket).is_ok());
    query(folder, "create database wordpress");
    server
}

fn query(folder: &Path, words: &str) {
    run(Command::new("mariadb")
        .args(["--no-defaults", "--user=root"])
        .arg(format!("--socket={}", folder.join("db.sock").display()))
        .arg(format!("--execute={words}")));
}

/// Nothing is fetched from outside and nothing happens by the clock.
fn config(folder: &Path) -> String {
    let keys = ["AUTH", "SECURE_AUTH", "LOGGED_IN", "NONCE"]
        .map(|of| format!("define('{of}_KEY', '{of} key'); define('{of}_SALT', '{of} salt');\n"))
        .concat();
    format!(
        "<?php\ndefine('DB_NAME', 'wordpress'); define('DB_USER', 'root'); define('DB_PASSWORD', '');\n\
         define('DB_HOST', 'localhost:{}'); define('DB_CHARSET', 'utf8mb4'); define('DB_COLLATE', '');\n{keys}\
         $table_prefix = 'wp_';\n\
         define('WP_HTTP_BLOCK_EXTERNAL', true); define('DISABLE_WP_CRON', true); define('AUTOMATIC_UPDATER_DISABLED', true);\n\
         if (!defined('ABSPATH')) define('ABSPATH', __DIR__ . '/');\nrequire_once ABSPATH . 'wp-settings.php';\n",
        folder.join("db.sock").display()
    )
}

fn php(folder: &Path) -> Program {
    let socket = folder.join("php.sock");
    let user = whoami();
    let file = folder.join("php-fpm.conf");
    let text = format!(
        "[global]\ndaemonize = no\nerror_log = {}\n[www]\nuser = {user}\ngroup = {}\nlisten = {}\npm = static\npm.max_children = 4\n\
         php_admin_value[sendmail_path] = /bin/true\n",
        folder.join("php-fpm.log").display(),
        group(),
        socket.display()
    );
    fs::write(&file, text).unwrap();
    let program = fs::read_dir("/usr/sbin")
        .unwrap()
        .filter_map(|entry| entry.ok()?.path().into_os_string().into_string().ok())
        .find(|path| path.starts_with("/usr/sbin/php-fpm"))
        .expect("Debian's php-fpm; `cargo x test` installs it");
    let server = Program::start(
        Command::new(program)
            .arg("--allow-to-run-as-root")
            .arg("--fpm-config")
            .arg(&file),
        &folder.join("php.out"),
    );
    wait("php-fpm", || UnixStream::connect(&socket).is_ok());
    server
}

fn nginx(folder: &Path, port: u16) -> Program {
    let at = folder.display();
    let user = if rustix::process::geteuid().is_root() {
        "user root;"
    } else {
        ""
    };
    let temporary = ["client_body", "fastcgi", "proxy", "uwsgi", "scgi"]
        .map(|of| format!("{of}_temp_path {at}/nginx-{of};\n"))
        .concat();
    let file = folder.join("nginx.conf");
    let text = format!(
        "{user}\ndaemon off; master_process off; pid {at}/nginx.pid;\nevents {{}}\nhttp {{\ninclude /etc/nginx/mime.types;\naccess_log off;\n\
         {temporary}server {{\nlisten 127.0.0.1:{port};\nroot {at}/site;\nindex index.php;\n\
         location / {{ try_files $uri $uri/ /index.php?$args; }}\n\
         location ~ \\.php$ {{ include /etc/nginx/fastcgi_params; fastcgi_param SCRIPT_FILENAME $document_root$fastcgi_script_name; \
         fastcgi_pass unix:{at}/php.sock; }}\n}}\n}}\n"
    );
    fs::write(&file, text).unwrap();
    let server = Program::start(
        Command::new("/usr/sbin/nginx")
            .arg("-e")
            .arg(folder.join("nginx.log"))
            .arg("-c")
            .arg(&file),
        &folder.join("nginx.out"),
    );
    wait("nginx", || {
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
    });
    server
}

/// A Saqta in front of it, as a newsroom would write it.
pub(crate) fn saqta(folder: &Path, origin: SocketAddr) -> (Program, SocketAddr) {
    let file = folder.join("newsroom.toml");
    let text = format!(
        "listen = \"127.0.0.1:0\"\n[[site]]\nhosts = [\"{HOST}\"]\norigin = \"http://{origin}\"\n{}",
        super::SETTINGS
    );
    fs::write(&file, text).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_saqta"))
        .args(["run", "-c"])
        .arg(&file)
        .arg("--data")
        .arg(folder.join("data"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(fs::File::create(folder.join("saqta.log")).unwrap())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let program = Program(child);
    let address = lines.find_map(|line| line.ok()?.strip_prefix("listening http://")?.parse().ok());
    let said = || fs::read_to_string(folder.join("saqta.log")).unwrap_or_default();
    (
        program,
        address.unwrap_or_else(|| panic!("Saqta does not start: {}", said())),
    )
}

pub(crate) fn run(command: &mut Command) {
    let output = command
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| {
            panic!(
                "{}: {error}; `cargo x test` installs it",
                command.get_program().display()
            )
        });
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{}: {said}",
        command.get_program().display()
    );
}

pub(crate) fn wait(what: &str, ready: impl Fn() -> bool) {
    for _ in 0..LOOKS_MAX {
        if ready() {
            return;
        }
        sleep(LOOK_EVERY);
    }
    panic!("{what} does not start");
}

fn whoami() -> String {
    named("-un")
}

fn group() -> String {
    named("-gn")
}

fn named(how: &str) -> String {
    let output = Command::new("id").arg(how).output().unwrap();
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
