"""Turns a subunit stream (standard input) into a JSON list of what became of each test.

An entry of a class whose set-up failed has the id `setUpClass (…)`; the caller knows which tests belong to it.
"""
import json
import sys

import subunit
import testtools

# The streams of a result: what went wrong, or why it was not run.
DETAILS = ("reason", "traceback", "traceback-1", "Failed test")


def text_of(details):
    for name in DETAILS:
        if name in details:
            return details[name].as_text().strip()
    return ""


def cause(text):
    """The message of the exception: what follows the last line of the last stack."""
    lines = [line.rstrip() for line in text.splitlines() if line.strip() and set(line.strip()) != {"^"}]
    stack = [number for number, line in enumerate(lines) if line.startswith(("  ", "Traceback"))]
    rest = lines[stack[-1] + 1:] if stack else lines
    return " ".join(line.strip() for line in rest)[:400]


def main():
    results = []

    def finished(test):
        details = test["details"]
        results.append({
            "id": test["id"].split("[")[0],
            "status": test["status"],
            "seconds": (test["timestamps"][1] - test["timestamps"][0]).total_seconds(),
            "cause": "" if test["status"] == "success" else cause(text_of(details)),
        })

    stream = subunit.ByteStreamToStreamResult(sys.stdin.buffer, non_subunit_name="stdout")
    sink = testtools.StreamToDict(lambda test: finished(test) if test["status"] != "exists" and test["id"] else None)
    sink.startTestRun()
    stream.run(sink)
    sink.stopTestRun()
    json.dump(results, sys.stdout, indent=1)


if __name__ == "__main__":
    main()
