"""What clients of S3 see of radosgw behind Hanse: `radosgw_clients.py <endpoint> <CA> <access key> <region> <what> …`, with the
secret on standard input. Each function is one test; an assertion that fails ends it."""

import datetime
import hashlib
import hmac
import sys
import time
import urllib.error
import urllib.request

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

endpoint, _, access, region, what, *rest = sys.argv[1:]
secret = sys.stdin.readline().strip()
MIB = 1 << 20


def client(key=access, its_secret=secret):
    config = Config(s3={"addressing_style": "path"}, retries={"max_attempts": 1})
    return boto3.client(
        "s3", endpoint_url=endpoint, aws_access_key_id=key, aws_secret_access_key=its_secret, region_name=region,
        config=config,
    )


def says(call, **arguments):
    """The error's code, or none."""
    try:
        call(**arguments)
        return None
    except ClientError as error:
        return error.response["Error"]["Code"]


def status(request):
    try:
        return urllib.request.urlopen(request).status
    except urllib.error.HTTPError as error:
        return error.code


def objects():
    s3 = client()
    s3.create_bucket(Bucket="photos")
    s3.put_object(Bucket="photos", Key="small", Body=b"hello", Metadata={"color": "red"})
    read = s3.get_object(Bucket="photos", Key="small")
    assert read["Body"].read() == b"hello" and read["Metadata"] == {"color": "red"}, read
    large = hashlib.sha256(b"seed").digest() * (20 * MIB // 32)
    parts, part = [], 8 * MIB
    upload = s3.create_multipart_upload(Bucket="photos", Key="large")["UploadId"]
    for number, start in enumerate(range(0, len(large), part), 1):
        made = s3.upload_part(
            Bucket="photos", Key="large", UploadId=upload, PartNumber=number, Body=large[start : start + part]
        )
        parts.append({"PartNumber": number, "ETag": made["ETag"]})
    s3.complete_multipart_upload(
        Bucket="photos", Key="large", UploadId=upload, MultipartUpload={"Parts": parts}
    )
    assert s3.get_object(Bucket="photos", Key="large")["Body"].read() == large
    listed = s3.list_objects_v2(Bucket="photos")["Contents"]
    assert [(each["Key"], each["Size"]) for each in listed] == [("large", 20 * MIB), ("small", 5)], listed
    assert [each["Name"] for each in s3.list_buckets()["Buckets"]] == ["photos"]


def hmac256(key, text):
    return hmac.digest(key, text.encode(), "sha256")


def chunks(spoiled=False):
    """A PUT whose chunks are each signed (AWS, "Signature Calculations for the Authorization Header: Transferring Payload in
    Multiple Chunks")."""
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    scope = f"{now[:8]}/{region}/s3/aws4_request"
    key = ("AWS4" + secret).encode()
    for part in scope.split("/"):
        key = hmac256(key, part)
    host = endpoint.split("://")[1]
    data = [b"a" * 65536, b"b" * 1000, b""]
    length = sum(len(chunk) for chunk in data)
    body_length = sum(len(f"{len(chunk):x};chunk-signature=") + 64 + 2 + len(chunk) + 2 for chunk in data)
    payload = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
    headers = {
        "content-encoding": "aws-chunked", "host": host, "x-amz-content-sha256": payload, "x-amz-date": now,
        "x-amz-decoded-content-length": str(length),
    }
    names = ";".join(headers)
    lines = "".join(f"{name}:{value}\n" for name, value in headers.items())
    canonical = f"PUT\n/photos/chunks\n\n{lines}\n{names}\n{payload}"
    text = f"AWS4-HMAC-SHA256\n{now}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    signature = hmac256(key, text).hex()
    headers["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={access}/{scope}, SignedHeaders={names}, Signature={signature}"
    )
    body, nothing = b"", hashlib.sha256(b"").hexdigest()
    for chunk in data:
        text = f"AWS4-HMAC-SHA256-PAYLOAD\n{now}\n{scope}\n{signature}\n{nothing}\n{hashlib.sha256(chunk).hexdigest()}"
        signature = hmac256(key, text).hex()
        sent = b"X" + chunk[1:] if spoiled and chunk else chunk
        body += f"{len(chunk):x};chunk-signature={signature}\r\n".encode() + sent + b"\r\n"
    assert len(body) == body_length
    headers["content-length"] = str(body_length)
    return status(urllib.request.Request(f"{endpoint}/photos/chunks", data=body, method="PUT", headers=headers))


def streaming():
    assert chunks() == 200
    assert client().get_object(Bucket="photos", Key="chunks")["Body"].read() == b"a" * 65536 + b"b" * 1000
    assert chunks(spoiled=True) == 403
    assert client().get_object(Bucket="photos", Key="chunks")["Body"].read()[:1] == b"a"


def stranger():
    """Of another project, whose bucket `photos` is `<project>:photos` for everybody else."""
    s3 = client()
    assert says(s3.list_objects_v2, Bucket="photos") == "NoSuchBucket"
    assert says(s3.get_object, Bucket="photos", Key="small") == "NoSuchBucket"
    for url in (f"{endpoint}/{rest[0]}:photos/small", f"{endpoint}/{rest[0]}:photos"):
        assert status(url) == 403, url
    assert says(client("doesnotexist").list_buckets) == "InvalidAccessKeyId"
    assert says(client(its_secret="x" * 32).list_buckets) in ("SignatureDoesNotMatch", "InvalidAccessKeyId")


def full():
    """Two objects are the limit, and one bucket."""
    s3 = client()
    s3.create_bucket(Bucket="blues")
    assert says(s3.create_bucket, Bucket="more") == "TooManyBuckets"
    for name in ("one", "two"):
        s3.put_object(Bucket="blues", Key=name, Body=b"x")
    assert says(s3.put_object, Bucket="blues", Key="three", Body=b"x") == "QuotaExceeded"
    s3.delete_object(Bucket="blues", Key="one")
    s3.put_object(Bucket="blues", Key="three", Body=b"x")


def until(wanted):
    s3, seen = client(), None
    for _ in range(150):
        seen = says(s3.list_objects_v2, Bucket=rest[0])
        if seen in wanted:
            return
        time.sleep(1)
    raise AssertionError(f"it still says {seen}")


def refused():
    """It was good until a moment ago, and radosgw remembers that for a while."""
    until(("InvalidAccessKeyId", "SignatureDoesNotMatch", "AccessDenied"))


def suspended():
    until(("UserSuspended", "InvalidAccessKeyId", "SignatureDoesNotMatch", "AccessDenied"))


def let_in():
    until((None,))


globals()[what]()
