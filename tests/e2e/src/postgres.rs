//! A database of the test's own in the PostgreSQL that `HANSE_TEST_POSTGRES` names, and a way to it that can be cut.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use tempfile::TempDir;

use crate::ok;

/// The user `nobody`, whom end-to-end clouds run as.
const NOBODY: u32 = 65534;

/// The socket of a server in its directory.
const SOCKET: &str = ".s.PGSQL.5432";

/// An empty database.
pub struct Database {
    name: String,
    server: PathBuf,
    place: TempDir,
}

impl Database {
    /// `None`, loudly, if no server is named and none is required.
    pub fn new() -> Option<Database> {
        let Ok(server) = std::env::var("HANSE_TEST_POSTGRES") else {
            let required = std::env::var("HANSE_REQUIRED_TESTS").unwrap_or_default();
            assert!(
                !required.contains("postgres"),
                "PostgreSQL is required, but HANSE_TEST_POSTGRES names none"
            );
            eprintln!("SKIPPED: HANSE_TEST_POSTGRES names no server");
            return None;
        };
        let place = tempfile::tempdir().expect("a temporary directory");
        std::fs::set_permissions(place.path(), std::fs::Permissions::from_mode(0o711)).expect("permissions");
        let unique: String =
            place.path().to_string_lossy().chars().filter(char::is_ascii_alphanumeric).collect();
        let name = format!("e2e_{}_{}", std::process::id(), unique.to_lowercase());
        let create = format!("CREATE DATABASE {name} TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'");
        let admin = server.replace("{database}", "postgres");
        ok(Command::new("psql").args(["--quiet", "--no-psqlrc", "--dbname", &admin, "--command", &create]));
        let (_, directory) = server.split_once("?host=").expect("a server on a unix socket");
        Some(Database { name, server: directory.into(), place })
    }

    /// What the database answers.
    pub fn ask(&self, statement: &str) -> String {
        let url = format!("postgres://postgres@localhost/{}?host={}", self.name, self.server.display());
        ok(Command::new("psql").args([
            "--quiet",
            "--no-psqlrc",
            "--tuples-only",
            "--dbname",
            &url,
            "--command",
            statement,
        ]))
    }

    /// A file for `database.url_file`.
    pub fn url_file(&self) -> PathBuf {
        self.url_file_of("direct", &self.server)
    }

    fn url_file_of(&self, name: &str, host: &Path) -> PathBuf {
        let file = self.place.path().join(name);
        let url = format!("postgres://postgres@localhost/{}?host={}", self.name, host.display());
        std::fs::write(&file, url).expect("the address of the database");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).expect("permissions");
        chown(&file, Some(NOBODY), None).expect("an owner");
        file
    }

    /// Another way to the database, and a file for `database.url_file` that names it.
    pub fn by_proxy(&self) -> (Proxy, PathBuf) {
        let directory = self.place.path().join("proxy");
        std::fs::create_dir(&directory).expect("a directory");
        let proxy = Proxy::start(&directory, self.server.join(SOCKET));
        (proxy, self.url_file_of("proxied", &directory))
    }
}

/// What the way to the database does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Open,
    /// Connections are ended at once, old and new.
    Cut,
    /// Connections stand, and nothing comes through.
    Silent,
}

/// Passes bytes on as long as its way is open. Its threads end with the test.
pub struct Proxy(Arc<State>);

struct State {
    way: Mutex<Way>,
    changed: Condvar,
    streams: Mutex<Vec<UnixStream>>,
}

impl Proxy {
    fn start(directory: &Path, server: PathBuf) -> Proxy {
        let socket = directory.join(SOCKET);
        let listener = UnixListener::bind(&socket).expect("a socket");
        std::fs::set_permissions(&socket, std::fs::Permissions::from_mode(0o777)).expect("permissions");
        let state = Arc::new(State {
            way: Mutex::new(Way::Open),
            changed: Condvar::new(),
            streams: Mutex::default(),
        });
        let proxy = Proxy(state.clone());
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (state, server) = (state.clone(), server.clone());
                thread::spawn(move || state.serve(client, &server));
            }
        });
        proxy
    }

    pub fn set(&self, way: Way) {
        *lock(&self.0.way) = way;
        self.0.changed.notify_all();
        if way == Way::Cut {
            for stream in lock(&self.0.streams).drain(..) {
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
    }
}

impl State {
    fn serve(self: Arc<State>, client: UnixStream, server: &Path) -> Option<()> {
        self.open()?;
        let server = UnixStream::connect(server).ok()?;
        let pair = |from: &UnixStream, to: &UnixStream| Some((from.try_clone().ok()?, to.try_clone().ok()?));
        let (there, back) = (pair(&client, &server)?, pair(&server, &client)?);
        lock(&self.streams).extend([client, server]);
        let other = self.clone();
        thread::spawn(move || other.copy(there));
        self.copy(back);
        Some(())
    }

    fn copy(&self, (mut from, mut to): (UnixStream, UnixStream)) {
        let mut buffer = vec![0; 1 << 16];
        while let Ok(count) = from.read(&mut buffer)
            && count > 0
            && self.open().is_some()
            && to.write_all(&buffer[..count]).is_ok()
        {}
        let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
    }

    /// Waits until the way is not silent; `None` if it is cut.
    fn open(&self) -> Option<()> {
        let mut way = lock(&self.way);
        while *way == Way::Silent {
            way = self.changed.wait(way).unwrap_or_else(PoisonError::into_inner);
        }
        (*way == Way::Open).then_some(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
