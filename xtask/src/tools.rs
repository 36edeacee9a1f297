//! The programs that come from outside: found, or installed, or an error that says what to do.
//!
//! Debian's packages come by `apt-get`, which needs root or sudo. Cargo's come from crates.io at a pinned version, built once into
//! `target/tools`, so that they neither touch the developer's own `~/.cargo/bin` nor are built again on the next run.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, bail};

use crate::root;

/// A program of Debian's: what it is called, which package brings it, and what prints its version.
pub(crate) struct Debian {
    pub(crate) program: &'static str,
    pub(crate) package: &'static str,
    pub(crate) version: &'static [&'static str],
}

pub(crate) const NGINX: Debian = Debian {
    program: "nginx",
    package: "nginx",
    version: &["-v"],
};
pub(crate) const VARNISH: Debian = Debian {
    program: "varnishd",
    package: "varnish",
    version: &["-V"],
};
pub(crate) const HAPROXY: Debian = Debian {
    program: "haproxy",
    package: "haproxy",
    version: &["-v"],
};
pub(crate) const WRK: Debian = Debian {
    program: "wrk",
    package: "wrk",
    version: &["-v"],
};
pub(crate) const VALGRIND: Debian = Debian {
    program: "valgrind",
    package: "valgrind",
    version: &["--version"],
};

/// `ip` and `tc`: one drill makes a network of its own.
pub(crate) const IPROUTE2: Debian = Debian {
    program: "ip",
    package: "iproute2",
    version: &["-V"],
};

/// The public suite for caches is a program of Node.js.
pub(crate) const NODE: Debian = Debian {
    program: "node",
    package: "nodejs",
    version: &["--version"],
};
pub(crate) const NPM: Debian = Debian {
    program: "npm",
    package: "npm",
    version: &["--version"],
};

/// libFuzzer is C++.
pub(crate) const GXX: Debian = Debian {
    program: "g++",
    package: "g++",
    version: &["--version"],
};

/// What the tests put up beside Saqta: a real WordPress with its database, and what people read it with: browsers with a font, text
/// browsers at the terminal that `script` is, programs that fetch, a feed reader.
pub(crate) const STAGED: &[&str] = &[
    "wordpress",
    "wordpress-theme-twentytwentyone",
    "php-fpm",
    "php-mysql",
    "mariadb-server",
    "nginx",
    "chromium",
    "firefox-esr",
    "fonts-dejavu-core",
    "lynx",
    "w3m",
    "elinks",
    "links",
    "bsdutils",
    "curl",
    "wget",
    "newsboat",
    "python3",
    "python3-venv",
];

/// What judges bundles beside us, from PyPI, at versions everyone uses: the Library of Congress's own reader of bags, and a tree of RFC 6962 that
/// somebody else wrote.
pub(crate) const JUDGES: &[&str] = &["bagit==1.9.0", "pymerkle==7.0.0"];

/// What comes from npm, at the version everyone uses.
pub(crate) struct Npm {
    pub(crate) package: &'static str,
    pub(crate) version: &'static str,
    /// In the package's folder; there when it was installed.
    pub(crate) file: &'static str,
}

/// The newest on npm. A newer edition has other tests, and its misses other reasons.
pub(crate) const HTTP_CACHE_TESTS: Npm = Npm {
    package: "http-cache-tests",
    version: "0.4.5",
    file: "cli.mjs",
};
/// Judges our pages for whoever reads them by ear, by keyboard or in large print.
pub(crate) const AXE: Npm = Npm {
    package: "axe-core",
    version: "4.14.1",
    file: "axe.min.js",
};

/// A program of crates.io's, at the version everyone uses.
pub(crate) struct Cargo {
    pub(crate) program: &'static str,
    pub(crate) version: &'static str,
}

pub(crate) const CARGO_DENY: Cargo = Cargo {
    program: "cargo-deny",
    version: "0.20.2",
};
pub(crate) const CARGO_FUZZ: Cargo = Cargo {
    program: "cargo-fuzz",
    version: "0.13.2",
};

/// A program that is there, and what it says of itself.
pub(crate) struct Tool {
    pub(crate) path: PathBuf,
    pub(crate) version: String,
}

impl Tool {
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        command.current_dir(root::path());
        command
    }
}

impl Debian {
    pub(crate) fn have(&self) -> Result<Tool> {
        let path = match find(self.program) {
            Some(path) => path,
            None => {
                apt_get_install(self.package)?;
                find(self.program).with_context(|| {
                    format!(
                        "Debian's package {} brought no {}",
                        self.package, self.program
                    )
                })?
            }
        };
        let version = first_line(Command::new(&path).args(self.version))
            .unwrap_or_else(|| format!("{}, version unknown", self.program));
        Ok(Tool { path, version })
    }
}

/// Debian's packages that are not one program: known by dpkg, or installed.
pub(crate) fn have_packages(packages: &[&str]) -> Result<()> {
    for package in packages {
        let list = Path::new("/var/lib/dpkg/info").join(format!("{package}.list"));
        if !list.is_file() {
            apt_get_install(package)?;
        }
    }
    Ok(())
}

impl Npm {
    /// The package's folder.
    pub(crate) fn have(&self) -> Result<PathBuf> {
        let (package, version) = (self.package, self.version);
        let folder = root::target()
            .join("tools")
            .join(format!("{package}-{version}"));
        let installed = folder.join("node_modules").join(package);
        if installed.join(self.file).is_file() {
            return Ok(installed);
        }
        println!("installing {package} {version} into {}", folder.display());
        let status = NPM
            .have()?
            .command()
            .args([
                "install",
                "--no-audit",
                "--no-fund",
                "--ignore-scripts",
                "--omit=dev",
                "--prefix",
            ])
            .arg(&folder)
            .arg(format!("{package}@{version}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status()
            .context("starting npm")?;
        if !status.success() || !installed.join(self.file).is_file() {
            bail!("npm could not install {package} {version} ({status})");
        }
        Ok(installed)
    }
}

/// A Python with [`JUDGES`], in a folder of its own. Debian's packages have to be there.
pub(crate) fn have_judges() -> Result<PathBuf> {
    let folder = root::target().join("tools").join(JUDGES.join("-"));
    let python = folder.join("bin/python");
    // Written last: an installation that was broken off is none.
    let whole = folder.join("whole");
    if whole.is_file() {
        return Ok(python);
    }
    println!("installing {} into {}", JUDGES.join(" "), folder.display());
    let run = |command: &mut Command| -> Result<()> {
        let status = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status()
            .context("starting python3")?;
        if !status.success() {
            bail!(
                "{} could not be installed from PyPI ({status})",
                JUDGES.join(" ")
            );
        }
        Ok(())
    };
    run(Command::new("/usr/bin/python3")
        .args(["-m", "venv", "--clear"])
        .arg(&folder))?;
    run(Command::new(&python)
        .args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
        ])
        .args(JUDGES))?;
    std::fs::write(&whole, "").context("writing beside the judges")?;
    Ok(python)
}

impl Cargo {
    pub(crate) fn have(&self) -> Result<Tool> {
        let folder = root::target().join("tools");
        let ours = folder.join("bin").join(self.program);
        for path in find(self.program).into_iter().chain([ours.clone()]) {
            if let Some(tool) = self.at(path) {
                return Ok(tool);
            }
        }
        println!(
            "installing {} {} into {}",
            self.program,
            self.version,
            folder.display()
        );
        let status = root::cargo()
            .args(["install", "--locked", "--quiet", "--force", self.program])
            .args(["--version", self.version, "--root"])
            .arg(&folder)
            .status()
            .context("starting cargo install")?;
        if !status.success() {
            bail!(
                "{} {} is needed and `cargo install` could not build it ({status})",
                self.program,
                self.version
            );
        }
        self.at(ours)
            .with_context(|| format!("{} was installed and does not start", self.program))
    }

    /// The program at `path` if it starts and is the pinned version: another one may judge otherwise.
    fn at(&self, path: PathBuf) -> Option<Tool> {
        // As cargo would start it: both tools want their subcommand's name as the first word.
        let word = self.program.strip_prefix("cargo-")?;
        let version = first_line(Command::new(&path).arg("--version"))
            .or_else(|| first_line(Command::new(&path).args([word, "--version"])))?;
        version
            .contains(self.version)
            .then_some(Tool { path, version })
    }
}

/// The program's place on `PATH`, or in the folders where Debian keeps servers, which are not on every user's.
fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|folder| folder.join(program))
        .find(|place| place.is_file())
}

/// What a program prints first, to either of its outputs (nginx and HAProxy differ), if it starts and prints anything.
pub(crate) fn first_line(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).output().ok()?;
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&text)
        .lines()
        .map(str::trim)
        .find(|line| !line.is_empty())
        .map(str::to_owned)
}

fn apt_get_install(package: &str) -> Result<()> {
    /// The lists are fetched once a run: without them a fresh machine knows no package.
    static LISTS_FETCHED: AtomicBool = AtomicBool::new(false);

    let Some(apt_get) = find("apt-get") else {
        bail!("{package} is needed and this machine has no apt-get: install it by hand");
    };
    println!("installing Debian's package {package}");
    let as_root = |words: &[&str]| -> Result<bool> {
        let mut command = if rustix::process::geteuid().is_root() {
            Command::new(&apt_get)
        } else {
            let sudo = find("sudo").with_context(|| {
                format!("{package} is needed: run `apt-get install {package}` as root")
            })?;
            let mut command = Command::new(sudo);
            command.arg("--non-interactive").arg(&apt_get);
            command
        };
        let status = command
            .args(["-q", "-y", "-o", "Dpkg::Use-Pty=0"])
            .args(words)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status()
            .context("starting apt-get")?;
        Ok(status.success())
    };
    if !LISTS_FETCHED.swap(true, Ordering::Relaxed) && !as_root(&["update"])? {
        bail!("{package} is needed and `apt-get update` failed");
    }
    if !as_root(&["install", "--no-install-recommends", package])? {
        bail!("{package} is needed and `apt-get install {package}` failed");
    }
    Ok(())
}
