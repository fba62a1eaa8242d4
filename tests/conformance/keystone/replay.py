"""Makes the same calls of Keystone and of Hanse and tells where the answers differ.

A call is one line of `calls/*.calls` (lines that begin with two spaces go on with the line before):

    <persona> <METHOD> <path> [@Header=value …] [body] [=> name = path.in.answer, count path.in.answer …]

The persona `x` sends the token that stands in the variable `token.x`, `-` sends none. The body is YAML (so JSON too), or
text as it is after `!`. `$name` is a variable: what an earlier call kept, the computed ones of `Variables`, or `$x65` for 65
letters. A path begins below `/identity/v3`, one with `//` below `/identity`. `header:Name` keeps a header.
`- PAUSE 1` waits for a second: Keystone's tokens and revocations are only that exact.

Compared are the status, the headers in `HEADERS`, and the shape of the body: keys, types, forms of times, paths of links,
and of an error its code and title. A difference is reported unless a line of `intended-differences` allows it; a line
there that allows nothing is reported too.
"""
import argparse
import base64
import collections
import datetime
import fnmatch
import hashlib
import hmac
import json
import pathlib
import re
import struct
import sys
import threading
import time
import urllib.parse

import requests
import yaml

HERE = pathlib.Path(__file__).parent
# Compared by value once host names and ids are taken out of them.
HEADERS = ("Content-Type", "Vary", "Location", "WWW-Authenticate")
# Compared only by whether they are there: their values are secret or random.
PRESENCE = ("X-Subject-Token", "x-openstack-request-id", "Openstack-Auth-Receipt")
TIMES = (
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z"), "time.µZ"),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}"), "time.µ"),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"), "timeZ"),
)
ID = re.compile(r"[0-9a-f]{64}|[0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
VARIABLE = re.compile(r"\$\{([\w.-]+)\}|\$([\w-]+(?:\.[\w-]+)*)")
SECONDS = 60


class Missing(Exception):
    """A call needs what an earlier one did not give."""


Call = collections.namedtuple("Call", "area line persona method path headers body keeps")


def parse(file):
    lines = []
    for number, text in enumerate(file.read_text().splitlines(), 1):
        if text.startswith("  ") and lines:
            lines[-1][1] += " " + text.strip()
        elif text.strip() and not text.startswith("#"):
            lines.append([number, text.strip()])
    for number, text in lines:
        text, _, keeps = text.partition(" => ")
        words = text.split(None, 3)
        if len(words) < 3:
            sys.exit(f"{file}:{number}: not a call: {text}")
        rest = words[3] if len(words) > 3 else ""
        headers = {}
        while rest.startswith("@"):
            header, _, rest = rest.partition(" ")
            name, _, value = header[1:].partition("=")
            headers[name] = value
            rest = rest.strip()
        yield Call(file.stem, number, *words[:3], headers, rest, [keep.strip() for keep in keeps.split(",") if keep.strip()])


class Variables(dict):
    """What a target has given so far, and what can be computed of it."""

    def __missing__(self, name):
        if re.fullmatch(r"x\d+", name):
            return "x" * int(name[1:])
        if name == "now_plus_hour":
            return stamp(datetime.timedelta(hours=1))
        if name == "now_minus_hour":
            return stamp(datetime.timedelta(hours=-1))
        if name == "totp" and "totp_secret" in self:
            return totp(self["totp_secret"])
        if name == "ec2_time":
            self[name] = stamp(datetime.timedelta())
            return self[name]
        if name in ("ec2_signature", "ec2_timeless_signature") and "ec2_secret" in self:
            text = f"GET\nhost\n/\nAWSAccessKeyId={self['ec2_access']}&SignatureMethod=HmacSHA256&SignatureVersion=2"
            if name == "ec2_signature":
                text += "&Timestamp=" + urllib.parse.quote(self["ec2_time"], safe="-_~")
            return base64.b64encode(hmac.digest(self["ec2_secret"].encode(), text.encode(), "sha256")).decode()
        if name == "s3_signature" and "ec2_secret" in self:
            return base64.b64encode(hmac.digest(self["ec2_secret"].encode(), b"hello", "sha1")).decode()
        raise Missing(name)

    def fill(self, value):
        if isinstance(value, str):
            return VARIABLE.sub(lambda match: str(self[match[1] or match[2]]), value)
        if isinstance(value, list):
            return [self.fill(item) for item in value]
        if isinstance(value, dict):
            return {self.fill(key): self.fill(item) for key, item in value.items()}
        if isinstance(value, (datetime.date, datetime.datetime)):
            return value.isoformat()
        return value


def below(path):
    """The path of a call as it is below `/identity`."""
    return path[1:] if path.startswith("//") else "/v3" + path


def stamp(delta):
    return (datetime.datetime.now(datetime.timezone.utc) + delta).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def totp(secret):
    """RFC 6238 with SHA-1, six digits, thirty seconds."""
    key = base64.b32decode(secret)
    digest = hmac.digest(key, struct.pack(">Q", int(time.time()) // 30), hashlib.sha1)
    offset = digest[-1] & 15
    return f"{(struct.unpack('>I', digest[offset:offset + 4])[0] & 0x7FFFFFFF) % 10 ** 6:06d}"


class Target:
    """One of the two, and what it answered: `(status, differences by key)` or the variable that a call lacked."""

    def __init__(self, url, password, ca=None):
        self.url = url.rstrip("/")
        self.variables = Variables(admin_password=password, b64_blob=base64.b64encode(b"hello").decode())
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.verify = ca or True
        self.answers, self.bodies, self.seconds = [], [], 0.0

    def replay(self, calls):
        begun = time.monotonic()
        for call in calls:
            self.bodies.append(None)
            try:
                self.answers.append(self.make(call))
            except Missing as missing:
                self.answers.append(("needs $" + str(missing), {}))
        self.seconds = time.monotonic() - begun

    def make(self, call):
        if call.method == "PAUSE":
            time.sleep(float(call.path))
            return "paused", {}
        fill = self.variables.fill
        headers = {name: fill(value) for name, value in call.headers.items()}
        if call.persona != "-":
            headers["X-Auth-Token"] = fill("$token." + call.persona)
        data = None
        if call.body.startswith("!"):
            data = fill(call.body[1:]).encode()
        elif call.body:
            data = json.dumps(fill(yaml.safe_load(call.body))).encode()
        if data is not None:
            headers.setdefault("Content-Type", "application/json")
        path = below(fill(call.path))
        for attempt in (1, 2):
            try:
                answer = self.session.request(call.method, self.url + path, headers=headers, data=data,
                                              timeout=SECONDS, allow_redirects=False)
                break
            except requests.exceptions.RequestException as error:
                # An idle connection that the server closed just now; what is not that fails twice.
                if attempt == 2:
                    return f"none: {type(error).__name__}", {}
        try:
            body = answer.json() if answer.content else None
        except ValueError:
            body = answer.text
        self.bodies[-1] = body
        if answer.status_code < 400:
            self.keep(call, answer, body)
        return str(answer.status_code), self.view(call, answer, body)

    def keep(self, call, answer, body):
        for keep in call.keeps:
            name, equals, path = (part.strip() for part in keep.partition("="))
            if not equals:
                continue
            value = answer.headers.get(path[7:]) if path.startswith("header:") else at(body, path)
            if value is not None:
                self.variables[name] = value

    def view(self, call, answer, body):
        found = {}
        for name in HEADERS:
            if name in answer.headers:
                found["header." + name] = self.neutral(answer.headers[name]).replace('"', "'")
        for name in PRESENCE:
            found["header." + name] = str(name in answer.headers)
        self.shape("body", body, found)
        for keep in call.keeps:
            if keep.startswith("count "):
                found[keep] = str(len(at(body, keep[6:]) or []))
            elif keep.startswith("value "):
                found[keep] = str(at(body, keep[6:]))
        if isinstance(body, dict) and isinstance(body.get("error"), dict):
            for key in ("code", "title"):
                found["body.error." + key] = str(body["error"].get(key))
        return found

    def shape(self, path, value, found):
        if isinstance(value, dict):
            # A catalog names services that differ, so keys are what is compared, not how many there are.
            found[path] = "{" + ", ".join(sorted(self.neutral(key) for key in value)) + "}"
            for key, item in value.items():
                if key == "catalog" and isinstance(item, list):
                    # Only one of the two has services of its own besides those that the calls make.
                    item = [entry for entry in item if entry.get("type", "").startswith(("identity", "test"))]
                self.shape(f"{path}.{self.neutral(key)}", item, found)
        elif isinstance(value, list):
            found[path] = "[…]" if value else "[]"
            for item in value:
                inner = {}
                self.shape(path + "[]", item, inner)
                for key, kind in inner.items():
                    kinds = set(found.get(key, kind).split(" or ")) | {kind}
                    found[key] = " or ".join(sorted(kinds))
        else:
            found[path] = self.kind(path, value)

    def kind(self, path, value):
        if not isinstance(value, str):
            return {bool: "boolean", int: "integer", float: "number", type(None): "null"}[type(value)]
        for pattern, name in TIMES:
            if pattern.fullmatch(value):
                return name
        if value.startswith(self.url):
            return self.neutral(value)
        return "string"

    def neutral(self, text):
        """Without the host and ids, so that it is the same on both."""
        text = ID.sub("<id>", text.replace(self.url, "<url>"))
        root = self.url.removesuffix("/identity")
        return text.replace(root, "<root>")


def at(body, path):
    for part in path.split("."):
        if isinstance(body, list) and part.isdigit() and int(part) < len(body):
            body = body[int(part)]
        elif isinstance(body, dict):
            body = body.get(part)
        else:
            return None
    return body


def differences(keystone, hanse):
    """Pairs of a key and what each of the two has there. Under another status, nothing else is looked at."""
    (status, left), (other, right) = keystone, hanse
    if status != other:
        yield "status", status, other
        return
    for key in sorted(set(left) | set(right)):
        if left.get(key) != right.get(key):
            # What is only below a key that one of them lacks has been said there.
            parent = re.sub(r"(\[\]|\.[^.\[\]]*)$", "", key)
            if key.startswith("body") and parent != key and (key not in left or key not in right):
                if left.get(parent) != right.get(parent):
                    continue
            yield key, left.get(key, "–"), right.get(key, "–")


class Intended:
    """Lines `call | key | Keystone | Hanse | reason`, the first four patterns as of file names.

    A call is area, persona, method and path, and its body if that is what it takes to tell it from others.
    """

    def __init__(self, file):
        self.lines = []
        for number, text in enumerate(file.read_text().splitlines(), 1):
            if text.strip() and not text.startswith("#"):
                fields = [field.strip() for field in text.split(" | ")]
                if len(fields) != 5 or not fields[4]:
                    sys.exit(f"{file.name}:{number}: five fields with ' | ' between them, the last a reason")
                self.lines.append((number, fields))
        self.used = set()

    def allows(self, title, body, key, left, right):
        for number, (call, what, keystone, hanse, _) in self.lines:
            is_meant = same(title, call) or same(f"{title} {body}", call)
            if is_meant and same(key, what) and same(left, keystone) and same(right, hanse):
                self.used.add(number)
                return True
        return False

    def unused(self):
        return [(number, fields) for number, fields in self.lines if number not in self.used]


def same(text, pattern):
    """As `fnmatch`, but brackets and braces are themselves: they stand in the names of keys."""
    return fnmatch.fnmatchcase(text, pattern.replace("[", "[[]"))


def uncalled(calls, files):
    """Routes of Keystone in scope that no call goes to."""
    routes = [line.split() for line in files.read_text().splitlines() if line and not line.startswith("#")]
    patterns = [(method, path, re.compile(re.sub(r"<[^>]*>", "[^/]+", path) + r"/?$")) for method, path in routes]
    called = set()
    for call in calls:
        path = below(call.path).partition("?")[0]
        exact = [(method, route) for method, route, pattern in patterns
                 if method == call.method and pattern.match(path)]
        # `/domains/config/default` is not a domain's: the route with the fewest blanks is meant.
        if exact:
            called.add(min(exact, key=lambda route: route[1].count("<")))
    return [f"{method} {path}" for method, path, _ in patterns if (method, path) not in called], len(patterns)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--keystone", required=True, help="its address up to /identity")
    parser.add_argument("--hanse", required=True)
    parser.add_argument("--hanse-ca", required=True)
    parser.add_argument("--password-file", required=True, type=pathlib.Path, help="the password of `admin`, on both")
    parser.add_argument("--only", action="append", help="an area: the name of a file in calls; `personas` and `logins` always run")
    parser.add_argument("--report", type=pathlib.Path, help="where everything goes as JSON, whole answers among it")
    options = parser.parse_args()

    calls = list(parse(HERE / "calls" / "personas.calls"))
    for file in sorted((HERE / "calls").glob("*.calls")):
        if file.stem not in ("personas", "logins") and (not options.only or file.stem in options.only):
            calls += [*parse(HERE / "calls" / "logins.calls"), *parse(file)]
    password = options.password_file.read_text().strip()
    keystone = Target(options.keystone, password)
    hanse = Target(options.hanse, password, options.hanse_ca)
    threads = [threading.Thread(target=target.replay, args=(calls,)) for target in (keystone, hanse)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    if any(len(target.answers) != len(calls) for target in (keystone, hanse)):
        sys.exit("one of the two did not answer every call")

    intended, found, allowed, differing = Intended(HERE / "intended-differences"), [], 0, 0
    for call, left, right in zip(calls, keystone.answers, hanse.answers):
        title = f"{call.area} {call.persona} {call.method} {call.path}"
        before = len(found)
        for key, old, new in differences(left, right):
            if intended.allows(title, call.body, key, old, new):
                allowed += 1
            else:
                found.append({"call": title, "line": call.line, "body": call.body, "status": left[0],
                              "key": key, "keystone": old, "hanse": new})
        differing += len(found) > before
    lacking = [(call, answer[0]) for call, answer in zip(calls, keystone.answers) if answer[0].startswith("needs")]
    missing, routes = ([], 0) if options.only else uncalled(calls, HERE / "routes")
    stale = [] if options.only else intended.unused()

    # Logins are made before each area; what differs there differs every time.
    for item in {(item["call"], item["line"], item["key"]): item for item in found}.values():
        print(f"{item['call']} (line {item['line']}): {item['key']}: Keystone {item['keystone']}, Hanse {item['hanse']}")
    for call, why in lacking:
        print(f"{call.area}.calls:{call.line}: Keystone itself {why}")
    for number, fields in stale:
        print(f"intended-differences:{number}: does not occur: {' | '.join(fields)}")
    for route in missing:
        print(f"no call goes to {route}")
    print(f"{len(calls)} calls on {routes} routes: {len(calls) - differing} answered alike, {differing} not; "
          f"{allowed} intended differences; Keystone {keystone.seconds:.1f} s, Hanse {hanse.seconds:.1f} s")
    if options.report:
        options.report.write_text(json.dumps({"calls": len(calls), "differing": differing, "allowed": allowed, "found": found,
             "calls_made": [{**call._asdict(), "status": [old[0], new[0]], "answers": answers} for call, old, new, *answers
                            in zip(calls, keystone.answers, hanse.answers, keystone.bodies, hanse.bodies)]}, indent=1))
    sys.exit(1 if found or lacking or stale or missing else 0)


if __name__ == "__main__":
    main()
