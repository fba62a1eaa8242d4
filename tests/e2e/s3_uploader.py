"""Uploads to S3 while the cloud's processes are killed, until standard input has a second line; then reads everything and
prints, as JSON, how much was acknowledged and what is not as it must be. Arguments: endpoint, CA's certificate, access
key, region; the secret key is the first line of standard input.

An object must be what was acknowledged last, or what was sent after that and never answered.
"""
import json, random, sys, threading, time

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

endpoint, authority, access, region = sys.argv[1:]
secret = sys.stdin.readline().rstrip("\n")
MIB = 1 << 20
GONE = None
stopping, noting = threading.Event(), threading.Lock()
# For each key: what was acknowledged last, and what was tried since.
acknowledged, tried, counts, refusals = {}, {}, {}, []


def client():
    config = Config(s3={"addressing_style": "path"}, retries={"max_attempts": 0}, read_timeout=20, connect_timeout=5)
    return boto3.client("s3", endpoint_url=endpoint, region_name=region, verify=authority, config=config,
                        aws_access_key_id=access, aws_secret_access_key=secret)


def content(version):
    """What a version of an object holds: a seed and a size tell all of it."""
    seed, size = version
    return random.Random(seed).randbytes(size)


def change(kind, key, version, call):
    with noting:
        tried.setdefault(key, []).append(version)
    try:
        call()
    except ClientError as error:
        # The cloud says that it could not: what it does while it stops or starts, and nothing else.
        if error.response["ResponseMetadata"]["HTTPStatusCode"] < 500:
            refusals.append(f"{kind} {key}: {error}")
        time.sleep(0.1)
        return
    except (BotoCoreError, OSError):
        time.sleep(0.1)
        return
    with noting:
        acknowledged[key], tried[key] = version, []
        counts[kind] = counts.get(kind, 0) + 1


def put(s3, key, version):
    s3.put_object(Bucket="crash", Key=key, Body=content(version))


def upload(s3, key, version):
    """In three parts."""
    body = content(version)
    where = {"Bucket": "crash", "Key": key}
    where["UploadId"] = s3.create_multipart_upload(**where)["UploadId"]
    parts = []
    for number, start in enumerate(range(0, len(body), 5 * MIB), 1):
        part = s3.upload_part(PartNumber=number, Body=body[start:start + 5 * MIB], **where)
        parts.append({"PartNumber": number, "ETag": part["ETag"]})
    s3.complete_multipart_upload(MultipartUpload={"Parts": parts}, **where)


def work(name):
    s3, dice, number = client(), random.Random(name), 0
    while not stopping.is_set():
        number += 1
        seed = f"{name}/{number}"
        small = (seed, dice.choice([0, 1, 4096, 70_000, 131_072, 131_073, 400_000]))
        if name == "large":
            version = (seed, 10 * MIB + dice.randrange(MIB))
            change("upload", f"large/{number % 3}", version, lambda: upload(s3, f"large/{number % 3}", version))
        elif name == "again":
            key = f"again/{number % 5}"
            if dice.random() < 0.2:
                change("delete", key, GONE, lambda: s3.delete_object(Bucket="crash", Key=key))
            else:
                change("overwrite", key, small, lambda: put(s3, key, small))
        else:
            change("put", f"new/{name}/{number}", small, lambda: put(s3, f"new/{name}/{number}", small))


def there(s3, key):
    try:
        return s3.get_object(Bucket="crash", Key=key)["Body"].read()
    except ClientError as error:
        if error.response["Error"]["Code"] == "NoSuchKey":
            return GONE
        raise


s3 = client()
s3.create_bucket(Bucket="crash")
threads = [threading.Thread(target=work, args=(name,)) for name in ["a", "b", "again", "large"]]
for thread in threads:
    thread.start()
print("ready", flush=True)
sys.stdin.readline()
stopping.set()
for thread in threads:
    thread.join()

wrong = []
listed = set()
for page in s3.get_paginator("list_objects_v2").paginate(Bucket="crash"):
    listed.update(entry["Key"] for entry in page.get("Contents", []))
for key in tried:
    may_be = [acknowledged.get(key, GONE)] + tried[key]
    found = there(s3, key)
    if not any(found == (GONE if version is GONE else content(version)) for version in may_be):
        wrong.append(f"{key}: {None if found is GONE else len(found)} bytes, expected one of {may_be}")
    if (key in listed) != (found is not GONE):
        wrong.append(f"{key}: listed {key in listed}, there {found is not GONE}")
print(json.dumps({"counts": counts, "wrong": wrong, "refusals": refusals, "objects": len(listed)}), flush=True)
