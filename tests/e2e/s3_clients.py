"""What the stock Python clients of S3 do with the cloud. Arguments: the endpoint, the CA's certificate, the access key, the
region, the name of a function below and what that wants to know. The secret key is read from standard input, the first line of it.
"""
import datetime, hashlib, http.client, http.server, io, json, os, queue, random, socket, ssl, sys, tempfile, threading, urllib.parse

import boto3
import urllib3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import ClientError
from minio import Minio
from minio.commonconfig import ComposeSource, CopySource, Tags
from minio.deleteobjects import DeleteObject

MIB = 1 << 20
LARGE = random.Random(1).randbytes(13 * MIB + 7)
ODD = ["plain", "a b+c/ü€/%41?&=;.txt", "dir/", "dir/one", "dir/two", "../up", "x//y", "quote\"'<>", "~(tilde)*!"]


def client(style="path", address=None, **more):
    return boto3.client(
        "s3",
        endpoint_url=address or endpoint,
        region_name=region,
        aws_access_key_id=access,
        aws_secret_access_key=secret,
        verify=authority,
        config=Config(s3={"addressing_style": style}, retries={"max_attempts": 0}, signature_version="s3v4", **more),
    )


def refused(code, call, **arguments):
    try:
        answer = call(**arguments)
    except ClientError as error:
        found = error.response["Error"]["Code"]
        assert found == code, f"{call.__name__}: {found} and not {code}: {error}"
        return error.response["ResponseMetadata"]["HTTPStatusCode"]
    raise AssertionError(f"{call.__name__} should have been refused with {code}: {answer}")


def ask(method, url, body=None, headers=None):
    """As curl would: nothing but what is told is sent."""
    parts = urllib.parse.urlsplit(url)
    connection = http.client.HTTPSConnection(parts.netloc, timeout=60, context=ssl.create_default_context(cafile=authority))
    connection.request(method, f"{parts.path}?{parts.query}", body, headers or {})
    answer = connection.getresponse()
    return answer.status, answer.read()


def objects():
    s3 = client()
    s3.create_bucket(Bucket="boto")
    refused("BucketAlreadyOwnedByYou", s3.create_bucket, Bucket="boto")
    assert [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]] == ["boto"]
    assert s3.head_bucket(Bucket="boto")["ResponseMetadata"]["HTTPStatusCode"] == 200
    assert s3.get_bucket_location(Bucket="boto")["LocationConstraint"] == "regionone"
    refused("404", s3.head_bucket, Bucket="none")
    refused("NoSuchBucket", s3.put_object, Bucket="none", Key="k", Body=b"x")

    put = s3.put_object(Bucket="boto", Key="k", Body=b"hello", ContentType="text/plain", Metadata={"colour": "blue"})
    assert put["ETag"] == f'"{hashlib.md5(b"hello").hexdigest()}"', put
    got = s3.get_object(Bucket="boto", Key="k")
    assert (got["Body"].read(), got["ContentType"], got["Metadata"]) == (b"hello", "text/plain", {"colour": "blue"}), got
    assert got["ServerSideEncryption"] == "AES256", got
    assert s3.get_object(Bucket="boto", Key="k", Range="bytes=1-3")["Body"].read() == b"ell"
    refused("InvalidRange", s3.get_object, Bucket="boto", Key="k", Range="bytes=9-")
    refused("404", s3.head_object, Bucket="boto", Key="none")
    refused("NoSuchKey", s3.get_object, Bucket="boto", Key="none")
    for algorithm in ["CRC32", "SHA1", "SHA256"]:
        put = s3.put_object(Bucket="boto", Key=algorithm, Body=b"hello" * 1000, ChecksumAlgorithm=algorithm)
        head = s3.head_object(Bucket="boto", Key=algorithm, ChecksumMode="ENABLED")
        assert put[f"Checksum{algorithm}"] == head[f"Checksum{algorithm}"], (put, head)
    refused("BadDigest", s3.put_object, Bucket="boto", Key="bad", Body=b"hello", ChecksumSHA256="A" * 43 + "=")
    refused("404", s3.head_object, Bucket="boto", Key="bad")

    # Conditions.
    refused("PreconditionFailed", s3.put_object, Bucket="boto", Key="k", Body=b"x", IfNoneMatch="*")
    refused("304", s3.get_object, Bucket="boto", Key="k", IfNoneMatch=got["ETag"])
    refused("PreconditionFailed", s3.get_object, Bucket="boto", Key="k", IfMatch='"other"')
    s3.put_object(Bucket="boto", Key="k", Body=b"again", IfMatch=got["ETag"])

    # Names of every kind, and lists of them.
    s3.create_bucket(Bucket="names")
    for key in ODD:
        s3.put_object(Bucket="names", Key=key, Body=key.encode())
    listed = []
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket="names", PaginationConfig={"PageSize": 2}):
        listed += [entry["Key"] for entry in page.get("Contents", [])]
    assert listed == sorted(ODD, key=str.encode), listed
    listed = [entry["Key"] for entry in s3.list_objects(Bucket="names")["Contents"]]
    assert listed == sorted(ODD, key=str.encode), listed
    page = s3.list_objects_v2(Bucket="names", Delimiter="/", Prefix="dir/")
    assert [entry["Key"] for entry in page["Contents"]] == ["dir/", "dir/one", "dir/two"], page
    page = s3.list_objects_v2(Bucket="names", Delimiter="/")
    assert [entry["Prefix"] for entry in page["CommonPrefixes"]] == ["../", "a b+c/", "dir/", "x//"[:2]], page
    for key in ODD:
        assert s3.get_object(Bucket="names", Key=key)["Body"].read() == key.encode(), key
    refused("BucketNotEmpty", s3.delete_bucket, Bucket="names")
    done = s3.delete_objects(Bucket="names", Delete={"Objects": [{"Key": key} for key in ODD + ["none"]]})
    assert len(done["Deleted"]) == len(ODD) + 1 and "Errors" not in done, done
    s3.delete_bucket(Bucket="names")

    # Copies, tags, CORS.
    s3.copy_object(Bucket="boto", Key="copy", CopySource={"Bucket": "boto", "Key": "k"})
    assert s3.get_object(Bucket="boto", Key="copy")["Body"].read() == b"again"
    s3.put_object_tagging(Bucket="boto", Key="copy", Tagging={"TagSet": [{"Key": "a", "Value": "b c"}]})
    assert s3.get_object_tagging(Bucket="boto", Key="copy")["TagSet"] == [{"Key": "a", "Value": "b c"}]
    rule = {"AllowedMethods": ["GET"], "AllowedOrigins": ["https://app.example"]}
    s3.put_bucket_cors(Bucket="boto", CORSConfiguration={"CORSRules": [rule]})
    assert s3.get_bucket_cors(Bucket="boto")["CORSRules"][0]["AllowedOrigins"] == ["https://app.example"]
    asked = {"Origin": "https://app.example", "Access-Control-Request-Method": "GET"}
    assert ask("OPTIONS", f"{endpoint}/boto/k", headers=asked)[0] == 200
    asked["Origin"] = "https://other.example"
    assert ask("OPTIONS", f"{endpoint}/boto/k", headers=asked)[0] == 403

    # What is not there yet says so.
    assert refused("MalformedPolicy", s3.put_bucket_policy, Bucket="boto", Policy="{}") == 400
    assert refused("NotImplemented", s3.put_bucket_request_payment, Bucket="boto",
                   RequestPaymentConfiguration={"Payer": "Requester"}) == 501


def versions():
    s3 = client()
    s3.create_bucket(Bucket="versions")
    s3.put_object(Bucket="versions", Key="k", Body=b"before")
    s3.put_bucket_versioning(Bucket="versions", VersioningConfiguration={"Status": "Enabled"})
    assert s3.get_bucket_versioning(Bucket="versions")["Status"] == "Enabled"
    made = [s3.put_object(Bucket="versions", Key="k", Body=body)["VersionId"] for body in [b"one", b"two"]]
    gone = s3.delete_object(Bucket="versions", Key="k")
    assert gone["DeleteMarker"], gone
    refused("NoSuchKey", s3.get_object, Bucket="versions", Key="k")
    for version, body in zip(["null"] + made, [b"before", b"one", b"two"]):
        assert s3.get_object(Bucket="versions", Key="k", VersionId=version)["Body"].read() == body
    listed = s3.list_object_versions(Bucket="versions")
    assert [entry["VersionId"] for entry in listed["Versions"]] == [made[1], made[0], "null"], listed
    assert [entry["VersionId"] for entry in listed["DeleteMarkers"]] == [gone["VersionId"]], listed
    s3.delete_object(Bucket="versions", Key="k", VersionId=gone["VersionId"])
    assert s3.get_object(Bucket="versions", Key="k")["Body"].read() == b"two"
    s3.delete_object(Bucket="versions", Key="k", VersionId=made[1])
    assert s3.get_object(Bucket="versions", Key="k")["Body"].read() == b"one"
    refused("BucketNotEmpty", s3.delete_bucket, Bucket="versions")
    for version in ["null", made[0]]:
        s3.delete_object(Bucket="versions", Key="k", VersionId=version)
    s3.delete_bucket(Bucket="versions")


def uploads():
    s3 = client()
    s3.create_bucket(Bucket="large")
    pieces = TransferConfig(multipart_threshold=5 * MIB, multipart_chunksize=5 * MIB, max_concurrency=4)
    s3.upload_fileobj(io.BytesIO(LARGE), "large", "whole", Config=pieces)
    head = s3.head_object(Bucket="large", Key="whole")
    assert head["ContentLength"] == len(LARGE) and head["ETag"].endswith('-3"'), head
    back = io.BytesIO()
    s3.download_fileobj("large", "whole", back, Config=pieces)
    assert back.getvalue() == LARGE
    across = s3.get_object(Bucket="large", Key="whole", Range=f"bytes={5 * MIB - 3}-{10 * MIB + 2}")["Body"].read()
    assert across == LARGE[5 * MIB - 3:10 * MIB + 3]
    s3.copy({"Bucket": "large", "Key": "whole"}, "large", "copied", Config=pieces)
    assert s3.get_object(Bucket="large", Key="copied")["Body"].read() == LARGE
    # One that is given up leaves nothing.
    upload = s3.create_multipart_upload(Bucket="large", Key="given-up")["UploadId"]
    where = {"Bucket": "large", "Key": "given-up", "UploadId": upload}
    part = s3.upload_part(PartNumber=1, Body=LARGE[:5 * MIB], **where)
    assert [found["ETag"] for found in s3.list_parts(**where)["Parts"]] == [part["ETag"]]
    assert [found["Key"] for found in s3.list_multipart_uploads(Bucket="large")["Uploads"]] == ["given-up"]
    wrong = {"Parts": [{"PartNumber": 1, "ETag": '"' + "0" * 32 + '"'}]}
    refused("InvalidPart", s3.complete_multipart_upload, MultipartUpload=wrong, **where)
    s3.abort_multipart_upload(**where)
    refused("NoSuchUpload", s3.list_parts, **where)
    refused("NoSuchKey", s3.get_object, Bucket="large", Key="given-up")
    assert not s3.list_multipart_uploads(Bucket="large").get("Uploads")


def presigned():
    s3 = client()
    s3.create_bucket(Bucket="open")
    s3.create_bucket(Bucket="closed")
    s3.put_object(Bucket="open", Key="k", Body=b"hello")
    s3.put_object(Bucket="closed", Key="secret", Body=b"secret")
    get = s3.generate_presigned_url("get_object", {"Bucket": "open", "Key": "k"}, 300)
    assert ask("GET", get) == (200, b"hello")
    for name in ["x-amz-acl", "x-amz-meta-a", "x-amz-request-payer", "x-amz-expected-bucket-owner"]:
        status, body = ask("GET", get, headers={name: "x"})
        assert status == 403 and b"AccessDenied" in body, (name, status, body)
    status, body = ask("GET", get.replace("/k?", "/other?"))
    assert status == 403 and b"SignatureDoesNotMatch" in body, (status, body)
    status, body = ask("PUT", get, b"x")
    assert status == 403 and b"SignatureDoesNotMatch" in body, (status, body)
    put = s3.generate_presigned_url("put_object", {"Bucket": "open", "Key": "put"}, 300)
    # With a header that nobody signed, another bucket's object would be copied.
    status, body = ask("PUT", put, b"", {"x-amz-copy-source": "/closed/secret"})
    assert status == 403 and b"AccessDenied" in body, (status, body)
    refused("NoSuchKey", s3.get_object, Bucket="open", Key="put")
    assert ask("PUT", put, b"put")[0] == 200
    assert s3.get_object(Bucket="open", Key="put")["Body"].read() == b"put"
    status, body = ask("GET", f"{endpoint}/open/k")
    assert status == 403 and b"AccessDenied" in body, (status, body)
    post = s3.generate_presigned_post("open", "posted", ExpiresIn=300)
    fields = list(post["fields"].items()) + [("file", ("name", b"posted"))]
    body, kind = urllib3.encode_multipart_formdata(fields)
    status, text = ask("POST", post["url"], body, {"Content-Type": kind, "Content-Length": str(len(body))})
    assert status == 204, (status, text)
    assert s3.get_object(Bucket="open", Key="posted")["Body"].read() == b"posted"


def minio():
    place = urllib.parse.urlsplit(endpoint).netloc
    pool = urllib3.PoolManager(ca_certs=authority, cert_reqs="CERT_REQUIRED", retries=False)
    s3 = Minio(place, access_key=access, secret_key=secret, secure=True, region=region, http_client=pool)
    s3.make_bucket("minio-py")
    assert s3.bucket_exists("minio-py") and not s3.bucket_exists("minio-none")
    s3.put_object("minio-py", "small", io.BytesIO(b"hello"), 5, content_type="text/plain", metadata={"a": "b"})
    found = s3.stat_object("minio-py", "small")
    assert (found.size, found.content_type, found.metadata["x-amz-meta-a"]) == (5, "text/plain", "b"), found
    s3.put_object("minio-py", "dir/large", io.BytesIO(LARGE), len(LARGE), part_size=5 * MIB)
    with tempfile.TemporaryDirectory() as place:
        s3.fget_object("minio-py", "dir/large", f"{place}/large")
        assert open(f"{place}/large", "rb").read() == LARGE
    s3.put_object("minio-py", "dir/unknown", io.BytesIO(LARGE), -1, part_size=5 * MIB)
    assert s3.get_object("minio-py", "dir/unknown", offset=3, length=7).read() == LARGE[3:10]
    s3.copy_object("minio-py", "copy", CopySource("minio-py", "small"))
    s3.compose_object("minio-py", "composed", [ComposeSource("minio-py", "dir/large"), ComposeSource("minio-py", "small")])
    assert s3.get_object("minio-py", "composed").read() == LARGE + b"hello"
    tags = Tags.new_object_tags()
    tags["kind"] = "copy"
    s3.set_object_tags("minio-py", "copy", tags)
    assert s3.get_object_tags("minio-py", "copy") == tags
    names = [entry.object_name for entry in s3.list_objects("minio-py", recursive=True)]
    assert names == ["composed", "copy", "dir/large", "dir/unknown", "small"], names
    assert sorted(entry.object_name for entry in s3.list_objects("minio-py")) == ["composed", "copy", "dir/", "small"]
    assert ask("GET", s3.presigned_get_object("minio-py", "small")) == (200, b"hello")
    assert list(s3.remove_objects("minio-py", [DeleteObject(name) for name in names])) == []
    s3.remove_bucket("minio-py")


def virtual_host():
    """Each bucket by a name of its own; nobody else than this process resolves it."""
    known = socket.getaddrinfo
    socket.getaddrinfo = lambda host, *more: known("127.0.0.1" if host.endswith("s3.example.org") else host, *more)
    s3 = client("virtual", "https://s3.example.org:8444")
    s3.create_bucket(Bucket="named")
    s3.put_object(Bucket="named", Key="a/b c", Body=b"hello")
    assert s3.get_object(Bucket="named", Key="a/b c")["Body"].read() == b"hello"
    url = s3.generate_presigned_url("get_object", {"Bucket": "named", "Key": "a/b c"}, 300)
    assert url.startswith("https://named.s3.example.org:8444/"), url
    assert ask("GET", url) == (200, b"hello")
    assert client().get_object(Bucket="named", Key="a/b c")["Body"].read() == b"hello"


def managed():
    """Keys that the project manages, by the client of AWS KMS."""
    s3 = client()
    kms = boto3.client("kms", endpoint_url=endpoint, region_name=region, aws_access_key_id=access,
                       aws_secret_access_key=secret, verify=authority, config=Config(retries={"max_attempts": 0}))
    key = kms.create_key(Description="payroll")["KeyMetadata"]
    kms.create_alias(AliasName="alias/payroll", TargetKeyId=key["KeyId"])
    assert key["Arn"] in [one["KeyArn"] for page in kms.get_paginator("list_keys").paginate() for one in page["Keys"]]
    s3.create_bucket(Bucket="managed")
    s3.put_bucket_encryption(Bucket="managed", ServerSideEncryptionConfiguration={"Rules": [{
        "ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": "alias/payroll"}}]})
    s3.upload_fileobj(io.BytesIO(LARGE), "managed", "large")
    got = s3.get_object(Bucket="managed", Key="large")
    assert (got["ServerSideEncryption"], got["SSEKMSKeyId"]) == ("aws:kms", key["Arn"])
    assert got["Body"].read() == LARGE
    kms.disable_key(KeyId="alias/payroll")
    refused("KMS.DisabledException", s3.get_object, Bucket="managed", Key="large")
    refused("KMS.DisabledException", s3.put_object, Bucket="managed", Key="new", Body=b"x")
    kms.enable_key(KeyId=key["KeyId"])
    assert s3.get_object(Bucket="managed", Key="large", Range="bytes=7-70000")["Body"].read() == LARGE[7:70001]
    gone = kms.schedule_key_deletion(KeyId=key["KeyId"], PendingWindowInDays=7)
    assert kms.describe_key(KeyId=gone["KeyId"])["KeyMetadata"]["DeletionDate"] == gone["DeletionDate"]
    refused("NotFoundException", kms.describe_key, KeyId="alias/nothing")
    try:
        boto3.client("kms", endpoint_url=endpoint, region_name=region, aws_access_key_id=access, aws_secret_access_key="wrong",
                     verify=authority).list_keys()
        raise AssertionError("whoever has no key lists keys")
    except ClientError as error:
        assert error.response["Error"]["Code"] == "InvalidSignatureException", error


def around():
    """A website, an event for a webhook, and a log that is delivered later."""
    known = socket.getaddrinfo
    socket.getaddrinfo = lambda host, *more: known("127.0.0.1" if host.endswith("web.example.org") else host, *more)
    told = queue.Queue()

    class Hook(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            told.put((self.path, json.loads(self.rfile.read(int(self.headers["content-length"])))))
            self.send_response(204)
            self.end_headers()

    hook = http.server.HTTPServer(("127.0.0.1", 9009), Hook)
    threading.Thread(target=hook.serve_forever, daemon=True).start()
    s3 = client()
    for bucket in ["site", "logs"]:
        s3.create_bucket(Bucket=bucket)
    s3.put_bucket_logging(Bucket="site", BucketLoggingStatus={
        "LoggingEnabled": {"TargetBucket": "logs", "TargetPrefix": "site/"}})
    assert s3.get_bucket_logging(Bucket="site")["LoggingEnabled"]["TargetBucket"] == "logs"
    topic = {"Id": "in", "TopicArn": "arn:aws:sns:regionone::hook", "Events": ["s3:ObjectCreated:*"],
             "Filter": {"Key": {"FilterRules": [{"Name": "prefix", "Value": "in/"}]}}}
    refused("InvalidArgument", s3.put_bucket_notification_configuration, Bucket="site",
            NotificationConfiguration={"TopicConfigurations": [{**topic, "TopicArn": "arn:aws:sns:regionone::none"}]})
    s3.put_bucket_notification_configuration(Bucket="site", NotificationConfiguration={"TopicConfigurations": [topic]})
    assert s3.get_bucket_notification_configuration(Bucket="site")["TopicConfigurations"] == [topic]
    s3.put_object(Bucket="site", Key="out", Body=b"x")
    s3.put_object(Bucket="site", Key="in/a b", Body=b"hello")
    path, message = told.get(timeout=60)
    record = message["Records"][0]
    assert (path, record["eventName"], record["s3"]["object"]["key"]) == ("/hook", "ObjectCreated:Put", "in/a+b"), message

    s3.put_bucket_website(Bucket="site", WebsiteConfiguration={
        "IndexDocument": {"Suffix": "index.html"}, "ErrorDocument": {"Key": "error.html"}})
    assert s3.get_bucket_website(Bucket="site")["ErrorDocument"] == {"Key": "error.html"}
    s3.put_object(Bucket="site", Key="index.html", Body=b"home", ContentType="text/html")
    s3.put_object(Bucket="site", Key="error.html", Body=b"oops", ContentType="text/html")
    site = "https://site.web.example.org:8444"
    assert ask("GET", f"{site}/")[0] == 403
    s3.delete_public_access_block(Bucket="site")
    allow = {"Effect": "Allow", "Principal": "*", "Action": ["s3:GetObject", "s3:ListBucket"],
             "Resource": ["arn:aws:s3:::site", "arn:aws:s3:::site/*"]}
    s3.put_bucket_policy(Bucket="site", Policy=json.dumps({"Version": "2012-10-17", "Statement": [allow]}))
    assert ask("GET", f"{site}/") == (200, b"home")
    assert ask("GET", f"{site}/none") == (404, b"oops")
    assert ask("PUT", f"{site}/index.html", b"x")[0] == 405


def logged():
    """What was delivered of it."""
    s3 = client()
    keys = [entry["Key"] for entry in s3.list_objects_v2(Bucket="logs", Prefix="site/")["Contents"]]
    lines = "".join(s3.get_object(Bucket="logs", Key=key)["Body"].read().decode() for key in keys)
    for part in [' REST.PUT.OBJECT in/a+b "PUT /site/in/a%20b ', ' WEBSITE.GET.OBJECT none "GET /none', " 404 NoSuchKey "]:
        assert part in lines, (part, lines)


def rules():
    """Keys of the client's own, locks, the lifecycle, checksums of whole objects."""
    s3 = client()
    s3.create_bucket(Bucket="rules", ObjectLockEnabledForBucket=True)
    own = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": b"k" * 32}
    s3.put_object(Bucket="rules", Key="own", Body=b"hidden", **own)
    assert s3.get_object(Bucket="rules", Key="own", **own)["Body"].read() == b"hidden"
    refused("InvalidRequest", s3.get_object, Bucket="rules", Key="own")
    wrong = {**own, "SSECustomerKey": b"w" * 32}
    assert refused("AccessDenied", s3.get_object, Bucket="rules", Key="own", **wrong) == 403

    until = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=1)
    kept = s3.put_object(Bucket="rules", Key="kept", Body=b"kept", ObjectLockMode="COMPLIANCE", ObjectLockRetainUntilDate=until)
    refused("AccessDenied", s3.delete_object, Bucket="rules", Key="kept", VersionId=kept["VersionId"])
    s3.put_object_legal_hold(Bucket="rules", Key="own", LegalHold={"Status": "ON"})
    assert s3.get_object_legal_hold(Bucket="rules", Key="own")["LegalHold"]["Status"] == "ON"
    s3.put_object_lock_configuration(Bucket="rules", ObjectLockConfiguration={
        "ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 1}}})
    assert s3.head_object(Bucket="rules", Key="kept")["ObjectLockMode"] == "COMPLIANCE"
    s3.put_object(Bucket="rules", Key="default", Body=b"x")
    assert s3.get_object_retention(Bucket="rules", Key="default")["Retention"]["Mode"] == "GOVERNANCE"

    life = [{"ID": "old", "Status": "Enabled", "Filter": {"Prefix": "logs/"}, "Expiration": {"Days": 30},
             "NoncurrentVersionExpiration": {"NoncurrentDays": 7}, "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 3}}]
    s3.put_bucket_lifecycle_configuration(Bucket="rules", LifecycleConfiguration={"Rules": life})
    assert s3.get_bucket_lifecycle_configuration(Bucket="rules")["Rules"] == life

    begun = s3.create_multipart_upload(Bucket="rules", Key="whole", ChecksumAlgorithm="CRC32", ChecksumType="FULL_OBJECT")
    name = {"Bucket": "rules", "Key": "whole", "UploadId": begun["UploadId"]}
    pieces = [LARGE[:6 * MIB], LARGE[6 * MIB:]]
    parts = [{"PartNumber": number + 1, "ETag": s3.upload_part(Body=piece, PartNumber=number + 1, ChecksumAlgorithm="CRC32", **name)["ETag"]}
             for number, piece in enumerate(pieces)]
    done = s3.complete_multipart_upload(MultipartUpload={"Parts": parts}, **name)
    whole = s3.put_object(Bucket="rules", Key="at-once", Body=LARGE, ChecksumAlgorithm="CRC32")
    assert done["ChecksumCRC32"] == whole["ChecksumCRC32"] and done["ChecksumType"] == "FULL_OBJECT", done


def opened():
    """What somebody of another project gets of `shared`, once its policy lets them read below `open/`."""
    s3 = client()
    assert s3.get_object(Bucket="shared", Key="open/k")["Body"].read() == b"hello"
    refused("AccessDenied", s3.get_object, Bucket="shared", Key="closed/k")
    refused("AccessDenied", s3.put_object, Bucket="shared", Key="open/k", Body=b"x")
    refused("AccessDenied", s3.get_bucket_policy, Bucket="shared")


def policy():
    """Lets the project that is named last read below `open/`, and then everybody."""
    s3 = client()
    s3.create_bucket(Bucket="shared")
    for key in ["open/k", "closed/k"]:
        s3.put_object(Bucket="shared", Key=key, Body=b"hello")
    def allow(principal):
        return json.dumps({"Version": "2012-10-17", "Statement": [{
            "Effect": "Allow", "Principal": principal, "Action": "s3:GetObject", "Resource": "arn:aws:s3:::shared/open/*"}]})
    refused("AccessDenied", s3.put_bucket_policy, Bucket="shared", Policy=allow("*"))
    s3.delete_public_access_block(Bucket="shared")
    s3.put_bucket_policy(Bucket="shared", Policy=allow("*"))
    assert s3.get_bucket_policy_status(Bucket="shared")["PolicyStatus"]["IsPublic"]
    assert ask("GET", f"{endpoint}/shared/open/k") == (200, b"hello")
    assert ask("GET", f"{endpoint}/shared/closed/k")[0] == 403
    assert ask("DELETE", f"{endpoint}/shared/open/k")[0] == 403
    s3.put_public_access_block(Bucket="shared", PublicAccessBlockConfiguration={"RestrictPublicBuckets": True})
    assert ask("GET", f"{endpoint}/shared/open/k")[0] == 403
    s3.put_bucket_policy(Bucket="shared", Policy=allow({"AWS": sys.argv[6]}))
    assert json.loads(s3.get_bucket_policy(Bucket="shared")["Policy"])["Statement"][0]["Principal"]["AWS"] == sys.argv[6]


def full():
    """A project at its limit of bytes."""
    s3 = client()
    s3.create_bucket(Bucket="full")
    s3.put_object(Bucket="full", Key="a", Body=b"x" * 900)
    assert refused("QuotaExceeded", s3.put_object, Bucket="full", Key="b", Body=b"x" * 200) == 403
    refused("404", s3.head_object, Bucket="full", Key="b")
    s3.put_object(Bucket="full", Key="b", Body=b"x" * 100)


def code():
    """What listing the buckets is answered with, and putting an object into a bucket of somebody else."""
    s3, found = client(), {}
    calls = {"list": lambda: s3.list_buckets(), "get": lambda: s3.get_object(Bucket="shared", Key="k"),
             "put": lambda: s3.put_object(Bucket="shared", Key="k", Body=b"x"),
             "keys": lambda: s3.list_objects_v2(Bucket="shared"), "take": lambda: s3.create_bucket(Bucket="shared"),
             "delete": lambda: s3.delete_object(Bucket="shared", Key="k")}
    for name, call in calls.items():
        try:
            call()
            found[name] = "ok"
        except ClientError as error:
            found[name] = error.response["Error"]["Code"]
    print(json.dumps(found))


endpoint, authority, access, region, what = sys.argv[1:6]
secret = sys.stdin.readline().rstrip("\n")
globals()[what]()
