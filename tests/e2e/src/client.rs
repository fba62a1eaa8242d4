//! A client that costs little, for tests that make many requests while processes die.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::Cloud;

/// Makes requests side by side; one that is under way is known by its number.
pub struct Client {
    process: Child,
    requests: ChildStdin,
    lines: BufReader<ChildStdout>,
    answers: BTreeMap<u64, Answer>,
    last: u64,
}

#[derive(Clone, Debug)]
pub struct Answer {
    /// None if nobody answered.
    pub status: Option<u64>,
    /// How often the request was made before it was answered: more than once, and it may have been done more than once.
    pub tries: u64,
    pub body: Value,
    /// The token that was issued or looked into.
    pub token: Option<String>,
}

/// A request as the demo user; repeated until it is answered.
#[derive(Clone, Debug)]
pub struct Request(Value);

impl Request {
    pub fn new(method: &str, path: &str) -> Request {
        Request(json!({ "method": method, "path": path, "cloud": "hanse", "patient": true }))
    }

    pub fn get(path: &str) -> Request {
        Request::new("GET", path)
    }

    pub fn post(path: &str, body: Value) -> Request {
        Request::new("POST", path).with_body(body)
    }

    pub fn with_body(mut self, body: Value) -> Request {
        self.0["body"] = body;
        self
    }

    pub fn delete(path: &str) -> Request {
        Request::new("DELETE", path)
    }

    /// A PUT of a file's content.
    pub fn upload(path: &str, file: &Path) -> Request {
        let mut request = Request::new("PUT", path);
        request.0["file"] = json!(file);
        request
    }

    /// As the cloud's admin.
    pub fn as_admin(mut self) -> Request {
        self.0["cloud"] = json!("hanse-admin");
        self
    }

    /// With this token, or with none if it is empty.
    pub fn with_token(mut self, token: &str) -> Request {
        self.0["token"] = json!(token);
        self
    }

    /// About this token.
    pub fn on_token(mut self, subject: &str) -> Request {
        self.0["subject"] = json!(subject);
        self
    }

    /// To the control plane that listens on this port.
    pub fn to_port(mut self, port: u16) -> Request {
        self.0["port"] = json!(port);
        self
    }

    /// Made once, whatever the answer.
    pub fn once(mut self) -> Request {
        self.0["patient"] = json!(false);
        self
    }
}

impl Client {
    pub fn of(cloud: &Cloud) -> Client {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/client.py");
        let mut command = cloud.inside("python3");
        command.arg(script).arg(cloud.state().join("operator"));
        let mut process =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("python3 starts");
        let requests = process.stdin.take().expect("standard input");
        let lines = BufReader::new(process.stdout.take().expect("standard output"));
        Client { process, requests, lines, answers: BTreeMap::new(), last: 0 }
    }

    /// Makes a request and does not wait for its answer.
    pub fn start(&mut self, request: &Request) -> u64 {
        self.last += 1;
        let mut request = request.0.clone();
        request["number"] = json!(self.last);
        writeln!(self.requests, "{request}").expect("the client runs");
        self.last
    }

    /// Waits for the answer to a request.
    pub fn answer(&mut self, number: u64) -> Answer {
        loop {
            if let Some(answer) = self.answers.remove(&number) {
                return answer;
            }
            let mut line = String::new();
            self.lines.read_line(&mut line).expect("the client runs");
            let said: Value = serde_json::from_str(&line).expect("JSON from the client");
            let answer = Answer {
                status: said["status"].as_u64().filter(|status| *status > 0),
                tries: said["tries"].as_u64().unwrap_or_default(),
                body: said["body"].clone(),
                token: said["token"].as_str().map(str::to_owned),
            };
            self.answers.insert(said["number"].as_u64().unwrap_or_default(), answer);
        }
    }

    pub fn ask(&mut self, request: &Request) -> Answer {
        let number = self.start(request);
        self.answer(number)
    }

    /// Makes a request that must succeed and returns the body of its answer.
    pub fn ok(&mut self, request: &Request) -> Value {
        let answer = self.ask(request);
        assert!(answer.is_success(), "{request:?}: {answer:?}");
        answer.body
    }

    /// Asks again and again until the body of the answer is as wanted.
    pub fn until(&mut self, request: &Request, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let mut seen = Value::Null;
        for _ in 0..1200 {
            seen = self.ok(request);
            if wanted(&seen) {
                return seen;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("waited in vain until {what}: {seen}");
    }
}

impl Answer {
    pub fn is_success(&self) -> bool {
        self.status.is_some_and(|status| status < 300)
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
