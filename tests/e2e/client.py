"""A client that costs little: a JSON request a line on standard input, a JSON answer a line on standard output.

Requests run side by side, each in a thread of its own. With "patient" a request is repeated until something below 500
answers it, for the cloud's processes are killed meanwhile; the answer tells how often it was made. The only argument is
the cloud's directory `operator`.
"""
import http.client, json, ssl, sys, threading, time

operator = sys.argv[1]
tls = ssl.create_default_context(cafile=f"{operator}/ca.crt")
clouds = json.load(open(f"{operator}/clouds.yaml"))["clouds"]
tokens, logging_in, printing = {}, threading.Lock(), threading.Lock()
PATIENCE_SECONDS = 120


def once(method, path, body, headers, port=8443):
    # The port that every cloud of a test listens on, in its own network namespace, or that of its second control plane.
    connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=60, context=tls)
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def token(cloud):
    with logging_in:
        if cloud not in tokens:
            auth = clouds[cloud]["auth"]
            domain = {"id": auth["user_domain_id"]}
            user = {"name": auth["username"], "domain": domain, "password": auth["password"]}
            scope = {"project": {"name": auth["project_name"], "domain": domain}}
            identity = {"methods": ["password"], "password": {"user": user}}
            body = json.dumps({"auth": {"identity": identity, "scope": scope}})
            kind = {"Content-Type": "application/json"}
            status, headers, text = once("POST", "/identity/v3/auth/tokens", body, kind)
            if status != 201:
                raise OSError(f"no token: {status} {text}")
            tokens[cloud] = headers["X-Subject-Token"]
        return tokens[cloud]


def run(request):
    tries, status, text, since, issued = 0, 0, "", time.monotonic(), None
    while tries == 0 or request["patient"] and time.monotonic() - since < PATIENCE_SECONDS:
        tries += 1
        try:
            # "token" is one of the test's own, or none if it is empty.
            shown = request["token"] if "token" in request else token(request["cloud"])
            headers = {"X-Auth-Token": shown} if shown else {}
            if "subject" in request:
                headers["X-Subject-Token"] = request["subject"]
            body = None
            if "file" in request:
                headers["Content-Type"], body = "application/octet-stream", open(request["file"], "rb").read()
            elif "body" in request:
                headers["Content-Type"], body = "application/json", json.dumps(request["body"])
            status, answered, text = once(request["method"], request["path"], body, headers, request.get("port", 8443))
            issued = answered["X-Subject-Token"]
            text = text.decode(errors="replace")
            if status < 500:
                break
        except Exception as error:
            status, text = 0, repr(error)
        time.sleep(0.1)
    try:
        body = json.loads(text) if text else None
    except ValueError:
        body = text
    with printing:
        answer = {"number": request["number"], "status": status, "tries": tries, "body": body, "token": issued}
        print(json.dumps(answer), flush=True)


for line in sys.stdin:
    threading.Thread(target=run, args=(json.loads(line),), daemon=True).start()
