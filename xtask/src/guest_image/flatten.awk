# Prints every scalar of a JSON document as "path<TAB>value", for shell scripts that need a few of them.
#
# {"uuid":"x","keys":[{"data":"a\nb"}]} becomes
#     uuid<TAB>x
#     keys.0.data<TAB>a
#     keys.0.data<TAB>b
# A value of several lines is printed as several lines, so that no value can forge another path. Tabs in values
# become spaces. Exits with 1 when the text is not one JSON object or array.

{ text = text $0 "\n" }

END {
    at = 1
    kind = next_token()
    if (kind != "{" && kind != "[") fail()
    container(kind, "")
    if (next_token() != "") fail()
}

function fail() { exit 1 }

# Takes the next token: returns its kind ("{", "}", "[", "]", ":", ",", "s" for a string, "v" for another value, ""
# at the end) and leaves its value in `token`.
function next_token(    rest) {
    while (substr(text, at, 1) ~ /[ \t\r\n]/ && at <= length(text)) at++
    rest = substr(text, at)
    if (rest == "") return ""
    if (match(rest, /^"([^"\\]|\\.)*"/)) {
        token = unescape(substr(rest, 2, RLENGTH - 2))
        at += RLENGTH
        return "s"
    }
    if (match(rest, /^[-+.A-Za-z0-9]+/)) {
        token = substr(rest, 1, RLENGTH)
        at += RLENGTH
        return "v"
    }
    at++
    token = substr(rest, 1, 1)
    if (index("{}[]:,", token) == 0) fail()
    return token
}

function container(open, path,    kind, name, count, close_) {
    close_ = open == "{" ? "}" : "]"
    kind = next_token()
    if (kind == close_) return
    for (count = 0; ; count++) {
        name = count
        if (open == "{") {
            if (kind != "s") fail()
            name = token
            gsub(/[\t\n]/, " ", name)
            if (next_token() != ":") fail()
            kind = next_token()
        }
        name = path == "" ? name : path "." name
        if (kind == "{" || kind == "[") container(kind, name)
        else if (kind == "s" || kind == "v") show(name, token)
        else fail()
        kind = next_token()
        if (kind == close_) return
        if (kind != ",") fail()
        kind = next_token()
    }
}

function show(path, value,    lines, count, i) {
    gsub(/[\t\r]/, " ", value)
    count = split(value, lines, "\n")
    if (count == 0) print path "\t"
    for (i = 1; i <= count; i++) if (lines[i] != "") print path "\t" lines[i]
}

function unescape(raw,    out, spot, mark) {
    out = ""
    while ((spot = index(raw, "\\")) > 0) {
        out = out substr(raw, 1, spot - 1)
        mark = substr(raw, spot + 1, 1)
        raw = substr(raw, spot + 2)
        if (mark == "n") out = out "\n"
        else if (mark == "t") out = out "\t"
        else if (mark == "r") out = out "\r"
        else if (mark == "b" || mark == "f") out = out " "
        else if (mark == "u") {
            out = out character(substr(raw, 1, 4))
            raw = substr(raw, 5)
        } else out = out mark
    }
    return out raw
}

# The UTF-8 form of a character named by four hexadecimal digits. Halves of surrogate pairs become "?": nothing that
# a guest reads from its metadata (ids, host names, keys) lies outside the basic plane.
function character(digits,    code, i) {
    code = 0
    for (i = 1; i <= 4; i++) code = code * 16 + index("0123456789abcdef", tolower(substr(digits, i, 1))) - 1
    if (code < 128) return sprintf("%c", code)
    if (code >= 55296 && code <= 57343) return "?"
    if (code < 2048) return sprintf("%c%c", 192 + int(code / 64), 128 + code % 64)
    return sprintf("%c%c%c", 224 + int(code / 4096), 128 + int(code / 64) % 64, 128 + code % 64)
}
