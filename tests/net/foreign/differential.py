#!/usr/bin/env python3
"""Sends the same requests to nginx and to our HTTP server, and compares what becomes of them.

    differential.py NGINX-PORT OUR-PORT COUNT [SEED]

Each connection gets a request that was made at random, and behind it a plain one, which shows whether both servers agree on where the first
one ends. The answers of a connection become a word: "A" for a request that was accepted, "R" for one that was refused. Both words have to be
the same, unless the request has an oddity for which ON_PURPOSE states a difference. Where a character was changed by chance, we may refuse what nginx
accepts; if it is the other way round, the reason has to be known.
"""
import random
import re
import selectors
import socket
import sys
import time

# Oddities in which the servers differ, and why. The first part of each: which of the two refuses.
ON_PURPOSE = {
    "LF alone": ("we", "RFC 9112 lets a server accept it. Where proxies in front read lines differently, that is a way to smuggle requests"),
    "LF alone in a size": ("we", "as above"),
    "empty lines in front": ("we", "RFC 9112 asks for one, which we accept"),
    "name that is no token": ("we", "nginx drops the field, and another server may read it as a known one"),
    "line without a colon": ("we", "as above"),
    "control character in a value": ("we", "RFC 9110 lets a server refuse it"),
    "control character in an extension": ("we", "as above"),
    "control character in a trailer": ("we", "as above"),
    "bad trailer": ("we", "nginx does not parse trailers"),
    "long trailer": ("we", "as above: they are limited"),
    "two spaces in the request line": ("we", "RFC 9112 has one"),
    "HTTP/1.2": ("we", "nobody speaks it"),
    "HTTP/0.9": ("we", "it has no head"),
    "control character or letter beyond ASCII in the target": ("we", "RFC 3986 has neither"),
    "other scheme": ("we", "we serve http and https"),
    "odd Host": ("we", "RFC 3986 has fewer characters in a host"),
    "other expectation": ("we", "RFC 9110 has the status 417 for it"),
    "head of 9 to 30 KB": ("we", "our limit is 8 KB"),
    "more than 64 fields": ("we", "our limit"),
    "many names in Connection": ("we", "our limit is 16"),
    "long extension": ("we", "they are limited"),
    "small letters or other characters in the method": ("nginx", "a method is a token, which the application gets"),
    "empty Host": ("nginx", "RFC 9110 has it for targets without a host"),
    "asterisk": ("nginx", "OPTIONS * is in RFC 9112"),
    "path above the root": ("nginx", "we hand out paths as they come, and do not decode them"),
    "bad percent": ("nginx", "as above"),
    "tabulator around chunked": ("nginx", "white space around a value is spaces and tabulators"),
    "tabulator around a length": ("nginx", "as above"),
}

# What both answer if they accept a request: http-server has few paths, and nginx is told to answer all.
OUR_ACCEPTED = {b"200", b"201", b"204", b"404", b"405", b"507"}
NGINX_ACCEPTED = {b"200"}
SENTINEL = b"GET /sentinel HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


class Request:
    """A request that may become odd: its parts, and the oddities that it has."""

    def __init__(self, rng):
        self.rng = rng
        self.odd = []
        self.front = b""
        self.method = rng.choice([b"GET", b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PATCH", b"PROPFIND"])
        self.target = rng.choice([b"/", b"/notes/a", b"/notes/b?x=1&y=%20", b"/a/b/c;d=e", b"/~x/-._!$&'()*+,;=:@", b"/%41%7e?%3f??/", b"//x", b"/a?b#c"])
        self.version = b"HTTP/1.1"
        self.space = b" "
        self.end = b"\r\n"
        self.host = [b"Host: x"]
        self.fields = []
        self.tail = None  # instead of the body
        self.body = None  # with its length
        self.chunks = None
        self.trailers = []
        if self.method in (b"POST", b"PUT", b"PATCH") or rng.random() < 0.1:
            self.give_body()

    def give_body(self):
        size = self.rng.choice([0, 1, 10, 100, 1000, 9000, 20000])
        data = bytes(self.rng.choice(b"GET /x HTTP/1.1\r\n0:") for _ in range(min(size, 60))) * (size // 60 + 1)
        if self.rng.random() < 0.5:
            self.body = data[:size]
        else:
            self.chunks = []
            data = data[:size]
            while data:
                take = self.rng.choice([1, 7, 16, 255, 4096, 10000])
                self.chunks.append([b"%x" % len(data[:take]), b"", data[:take]])
                data = data[take:]
            self.chunks.append([b"0", b"", b""])

    def need_chunks(self):
        while self.chunks is None or len(self.chunks) < 2:
            self.body = None
            self.give_body()

    def bytes(self):
        head = [self.method + self.space + self.target + (self.space + self.version if self.version else b"")]
        fields = self.host + self.fields
        if self.body is not None:
            fields.append(b"Content-Length: %d" % len(self.body))
        if self.chunks is not None:
            fields.append(b"Transfer-Encoding: chunked")
        self.rng.shuffle(fields)
        text = self.front + self.end.join(head + fields) + self.end * 2
        if self.tail is not None:
            return text + self.tail
        if self.body is not None:
            return text + self.body
        if self.chunks is not None:
            for size, extension, data in self.chunks:
                text += size + extension + b"\r\n" + (data + b"\r\n" if data else b"")
            return text + b"".join(trailer + b"\r\n" for trailer in self.trailers) + b"\r\n"
        return text


def choose(request, *values):
    return request.rng.choice(values)


def control(request):
    return bytes([request.rng.choice([1, 2, 7, 8, 11, 12, 14, 27, 31, 127])])


ODDITIES = {}


def oddity(function):
    """Registers a function that makes a request odd. Its docstring is the name."""
    ODDITIES[function.__doc__] = function
    return function


def fields(name, *lines):
    def add(request):
        request.fields.append(choose(request, *lines))

    add.__doc__ = name
    oddity(add)


# Legal, and accepted by both.
fields("small and large letters in a name", b"accept: */*", b"ACCEPT: */*", b"uSeR-aGeNt: x")
fields("spaces around a value", b"A:b", b"A: \t b \t ", b"A:\tb", b"A:      b")
fields("empty value", b"A:", b"A: ", b"A:\t \t")
fields("bytes beyond ASCII in a value", b"A: \x80\xff\xc3\xa4", b"A: \xe2\x82\xac")
fields("tabulator in a value", b"A: b\tc")
fields("odd token", b"!#$%&'*+.^_`|~09aZ: b", b"A_b: c", b"1: 2", b"-: x")
fields("long value", b"A: " + b"x" * 3000, b"Cookie: " + b"y" * 6000)
fields("colons in a value", b"A::b", b"A: b: c: d")
fields("Connection", b"Connection: keep-alive", b"Connection: Keep-Alive, x", b"Connection: x, y , z", b"Connection: ,,")
fields("Connection: close", b"Connection: close", b"Connection: CLOSE")


@oddity
def one_empty_line(request):
    """one empty line in front"""
    request.front = b"\r\n"


@oddity
def many_fields(request):
    """many fields"""
    request.fields += [b"A%d: b" % i for i in range(50)]


@oddity
def absolute(request):
    """absolute target"""
    request.target = choose(request, b"http://x/a", b"HTTP://x:80/", b"http://x/?a=b", b"https://x.y.z/a/b", b"http://x")


@oddity
def version_1_0(request):
    """HTTP/1.0"""
    request.version = b"HTTP/1.0"
    request.host = choose(request, [], [b"Host: x"])
    request.fields += choose(request, [], [b"Connection: keep-alive"])
    if request.chunks is not None:
        request.odd.append("chunks in HTTP/1.0")


@oddity
def length_zeros(request):
    """zeros in front of a length"""
    request.chunks, request.body = None, None
    request.fields.append(b"Content-Length: 0005")
    request.tail = b"hello"


@oddity
def size_spelling(request):
    """odd spelling of a size"""
    request.need_chunks()
    chunk = request.rng.choice(request.chunks)
    chunk[0] = choose(request, chunk[0].upper(), b"000" + chunk[0], b"0000" + chunk[0].upper())


@oddity
def extension(request):
    """extension of a size"""
    request.need_chunks()
    request.rng.choice(request.chunks)[1] = choose(request, b";a", b";a=b", b" ; a = b", b';a="x;y"', b";a=b;c=d", b" ", b"\t")


@oddity
def trailers(request):
    """trailers"""
    request.need_chunks()
    request.trailers = choose(request, [b"A: b"], [b"A: b", b"Content-Length: 3"], [b"A:"])


@oddity
def coding_spelling(request):
    """odd spelling of chunked"""
    request.chunks = request.body = None
    request.fields.append(choose(request, b"Transfer-Encoding: CHUNKED", b"transfer-encoding:Chunked  ", b"Transfer-Encoding:    chunked"))
    request.tail = b"3\r\nabc\r\n0\r\n\r\n"


@oddity
def coding_tabulator(request):
    """tabulator around chunked"""
    request.chunks = request.body = None
    request.fields.append(choose(request, b"Transfer-Encoding: chunked\t", b"Transfer-Encoding:\tchunked"))
    request.tail = b"3\r\nabc\r\n0\r\n\r\n"


@oddity
def length_tabulator(request):
    """tabulator around a length"""
    request.chunks = request.body = None
    request.fields.append(choose(request, b"Content-Length: 5\t", b"Content-Length:\t5"))
    request.tail = b"hello"


@oddity
def expects(request):
    """expects 100 Continue"""
    request.fields.append(b"Expect: 100-continue")


@oddity
def other_host(request):
    """Host"""
    request.host = [choose(request, b"Host: a.b.c:8080", b"Host: [::1]:80", b"Host: 127.0.0.1", b"host:x", b"Host: X.Y. ", b"Host: a_b-c")]


# Illegal, and refused by both.
fields("space in front of a colon", b"A : b", b"A\t: b", b"Content-Length : 0")
fields("folded line", b"A: b\r\n c", b"A: b\r\n\tc", b"A: b\r\n ")
fields("NUL in a value", b"A: b\0c", b"A: \0")
fields("second Host", b"Host: x", b"host: y")
fields("bad length", *[b"Content-Length: " + value for value in (b"-1", b"+1", b"0x1", b"1 1", b"1,1", b"1;", b"a", b"1.0", b"", b"99999999999999999999")])
fields("too long", b"Content-Length: 2000000", b"Content-Length: 9223372036854775807")
fields("other coding", *[b"Transfer-Encoding: " + value for value in (b"gzip", b"gzip, chunked", b"chunked, chunked", b"identity", b"", b"x chunked", b"chunked;a=b", b"\x0bchunked")])


@oddity
def lone_cr(request):
    """CR in a value"""
    request.fields.append(b"A: b\rc")




@oddity
def no_host(request):
    """no Host"""
    request.host = []


@oddity
def two_lengths(request):
    """two lengths"""
    request.chunks = request.body = None
    request.fields += choose(request, [b"Content-Length: 5", b"Content-Length: 5"], [b"Content-Length: 5", b"content-length: 6"])
    request.tail = b"hello"


@oddity
def both(request):
    """length and chunks"""
    request.chunks = request.body = None
    request.fields += [b"Transfer-Encoding: chunked", b"Content-Length: %d" % choose(request, 0, 5, 13)]
    request.tail = b"3\r\nabc\r\n0\r\n\r\n"


@oddity
def two_codings(request):
    """two codings"""
    request.chunks = request.body = None
    request.fields += [b"Transfer-Encoding: chunked", choose(request, b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity")]
    request.tail = b"3\r\nabc\r\n0\r\n\r\n"


@oddity
def bad_size(request):
    """bad size"""
    request.need_chunks()
    request.rng.choice(request.chunks)[0] = choose(request, b"g", b"-1", b"+1", b"0x1", b"", b"1g", b"fffffffffffffffff", b"7fffffffffffffffff", b"\x001")


@oddity
def bad_data_end(request):
    """chunk that is longer than its size"""
    request.need_chunks()
    request.chunks[0][2] += b"x"


@oddity
def bad_version(request):
    """bad version"""
    request.version = choose(request, b"HTTP/2.0", b"HTTP/9.9", b"HTTP/1", b"HTTP/1.", b"http/1.1", b"HTTP/1.1x", b"HTTP/a.b", b"HTCP/1.1", b"HTTP/-1.1", b"HTTP/1.1 x")


@oddity
def bad_target(request):
    """bad target"""
    request.target = choose(request, b"", b"a", b"x/y", b"?a", b"/a b", b"/\0", b"/a\tb", b"\x01/")


@oddity
def very_long(request):
    """head of more than 40 KB"""
    request.fields += [b"A%d: " % i + b"x" * 3000 for i in range(15)]


@oddity
def bad_method(request):
    """bad method"""
    request.method = choose(request, b"", b"G(T", b"GET/", b"G\x01T", b"G\xe4T", b"GET:", b"\0")


@oddity
def connect(request):
    """CONNECT"""
    request.method, request.target = b"CONNECT", choose(request, b"x:80", b"/")


# Those in which the servers may differ: ON_PURPOSE.
fields("name that is no token", b"A(b): c", b"A b: c", b"\xe4: b", b'"A": b', b"A/b: c", b": b")
fields("line without a colon", b"A", b"Content-Length", b"GET / HTTP/1.1")
fields("many names in Connection", b"Connection: " + b"a, " * 30 + b"b")
fields("other expectation", b"Expect: 200-ok", b"Expect: x")


@oddity
def value_control(request):
    """control character in a value"""
    request.fields.append(b"A: b" + control(request) + b"c")


@oddity
def lone_lf(request):
    """LF alone"""
    request.end = b"\n"


@oddity
def empty_lines(request):
    """empty lines in front"""
    request.front = b"\r\n" * request.rng.randrange(2, 5)


@oddity
def two_spaces(request):
    """two spaces in the request line"""
    request.space = b"  "


@oddity
def version_1_2(request):
    """HTTP/1.2"""
    request.version = choose(request, b"HTTP/1.2", b"HTTP/1.9")


@oddity
def version_0_9(request):
    """HTTP/0.9"""
    request.version = b""


@oddity
def odd_target(request):
    """control character or letter beyond ASCII in the target"""
    request.target = b"/a" + choose(request, control(request), b"\xe4", b"\xff") + b"b"


@oddity
def other_scheme(request):
    """other scheme"""
    request.target = choose(request, b"ftp://x/", b"x://y/z", b"httpx://y/")


@oddity
def odd_host(request):
    """odd Host"""
    request.host = [b"Host: " + choose(request, b"a\"b", b"a@b", b"a<b", b"a%41", b"a\x80b", b"a{b")]


@oddity
def empty_host(request):
    """empty Host"""
    request.host = [choose(request, b"Host:", b"Host: \t")]


@oddity
def long_head(request):
    """head of 9 to 30 KB"""
    request.fields += [b"A%d: " % i + b"x" * 3000 for i in range(request.rng.randrange(3, 9))]


@oddity
def too_many_fields(request):
    """more than 64 fields"""
    request.fields += [b"A%d: b" % i for i in range(request.rng.randrange(64, 100))]


@oddity
def odd_method(request):
    """small letters or other characters in the method"""
    request.method = choose(request, b"get", b"Get", b"G1T", b"X!#$%&'*+.^`|~")


@oddity
def asterisk(request):
    """asterisk"""
    request.method, request.target = b"OPTIONS", b"*"


@oddity
def above(request):
    """path above the root"""
    request.target = choose(request, b"/..", b"/../a", b"/a/../../b", b"/%2e%2e/a")


@oddity
def bad_percent(request):
    """bad percent"""
    request.target = choose(request, b"/%", b"/%zz", b"/a%0", b"/%00")


@oddity
def size_lf(request):
    """LF alone in a size"""
    request.chunks = request.body = None
    request.fields.append(b"Transfer-Encoding: chunked")
    request.tail = choose(request, b"3\nabc\r\n0\r\n\r\n", b"3\r\nabc\n0\r\n\r\n", b"3\r\nabc\r\n0\n\r\n", b"3\r\nabc\r\n0\r\n\n", b"3;a\nabc\r\n0\r\n\r\n")


@oddity
def extension_control(request):
    """control character in an extension"""
    request.need_chunks()
    request.rng.choice(request.chunks)[1] = b";a" + control(request)


@oddity
def long_extension(request):
    """long extension"""
    request.need_chunks()
    request.rng.choice(request.chunks)[1] = b";" + b"a" * 5000


@oddity
def trailer_control(request):
    """control character in a trailer"""
    request.need_chunks()
    request.trailers = [b"A: b" + control(request)]


@oddity
def bad_trailer(request):
    """bad trailer"""
    request.need_chunks()
    request.trailers = [choose(request, b" A: b", b": b", b"\x80: b")]


@oddity
def long_trailer(request):
    """long trailer"""
    request.need_chunks()
    request.trailers = [b"A: " + b"b" * 9000]


def change(rng, text):
    """Changes a character of the head by chance."""
    at = rng.randrange(min(len(text), 200))
    other = bytes([rng.choice(b"\r\n\t \0:;,/?#%.-_aZ09\x7f\x80\xff")])
    return rng.choice([text[:at] + other + text[at + 1 :], text[:at] + other + text[at:], text[:at] + text[at + 1 :]])


def make(rng):
    request = Request(rng)
    for name in rng.sample(sorted(ODDITIES), rng.choice([0, 1, 1, 1, 1, 2])):
        request.odd.append(name)
        ODDITIES[name](request)
    text = request.bytes()
    if rng.random() < 0.2:
        request.odd.append("changed")
        text = change(rng, text)
    return request.odd, text


# How a change by chance may lead to one of the differences in which nginx refuses.
NGINX_REFUSES = re.compile(
    rb"^\r?\n?[^ ]*[^A-Z_ \r\n-][^ ]* "  # the method
    rb"|^\r?\n?[^\r]*%(?![0-9A-Fa-f]{2}|00)"
    rb"|^\r?\n?[^\r]*%00"
    rb"|^\r?\n?[^\r]*/\.\.[/ ?#]"
    rb"|^\r?\n?OPTIONS \* "
    rb"|(?i:\r\nhost:[ \t]*(:[^\r]*|[^\r]*\.\.[^\r]*|\.)?[ \t]*\r\n)"  # names and ports that nobody has, which the application may refuse
    rb"|^\r?\n?[^\r]*://[^\r/]*\.\."
    rb"|(?i:\r\n(transfer-encoding|content-length|host):[^\r]*\t)"
    rb"|(?i:\r\nconnection:[^\r]*close)"  # nginx takes every name that has these letters for "close"
)


def is_known(who, name, odd, text, one, two):
    """Returns true if an oddity explains a difference. `one` and `two` are the words of nginx and of our server."""
    if name == "changed" and who == "nginx":
        # Or the change made a body longer, so that its last byte became part of the second method.
        return NGINX_REFUSES.search(text) or one[:-1] == two[:-1] != ""
    if name == "Connection: close" and ("HTTP/1.0" in odd or "Connection" in odd):
        return True  # "close" beside "keep-alive": it wins, and in nginx the last one does
    return name == "changed" or ON_PURPOSE.get(name, ("", ""))[0] == who


def ask_all(port, requests, together=48):
    """Sends each of the texts on a connection of its own, some at a time. Returns the answers of each, up to the server's end of the stream."""
    answers = [b""] * len(requests)
    waiting = list(enumerate(requests))[::-1]
    selector = selectors.DefaultSelector()
    open_now = 0
    deadline = time.monotonic() + 20
    while waiting or open_now:
        while waiting and open_now < together:
            number, text = waiting.pop()
            connection = socket.create_connection(("127.0.0.1", port))
            connection.settimeout(0)
            selector.register(connection, selectors.EVENT_READ | selectors.EVENT_WRITE, [number, text])
            open_now += 1
            deadline = time.monotonic() + 20
        events = selector.select(1)
        if not events and time.monotonic() > deadline:
            stuck = [key.data[0] for key in selector.get_map().values()]
            sys.exit(f"the server on port {port} neither answers nor closes: {[requests[number][:300] for number in stuck[:3]]}")
        for key, mask in events:
            connection, data = key.fileobj, key.data
            end = False
            if mask & selectors.EVENT_WRITE:
                try:
                    data[1] = data[1][connection.send(data[1]) :]
                    if not data[1]:
                        connection.shutdown(socket.SHUT_WR)
                except BlockingIOError:
                    pass
                except OSError:  # what was answered may still be there
                    data[1] = b""
                if not data[1]:
                    selector.modify(connection, selectors.EVENT_READ, data)
            if mask & selectors.EVENT_READ:
                try:
                    got = connection.recv(65536)
                    answers[data[0]] += got
                    end = not got
                except BlockingIOError:
                    pass
                except OSError:
                    answers[data[0]] += b"HTTP/1.1 reset"
                    end = True
            if end:
                selector.unregister(connection)
                connection.close()
                open_now -= 1
    return answers


def word(answers, accepted):
    if answers and not answers.startswith(b"HTTP/"):
        return "A"  # of HTTP/0.9
    result = ""
    for status in re.findall(rb"HTTP/1\.[01] (\d\d\d|reset)", answers):
        result += "A" if status in accepted else "x" if status == b"reset" else "" if status == b"100" else "R"
    return result


def main():
    nginx, ours, count = (int(text) for text in sys.argv[1:4])
    rng = random.Random(int(sys.argv[4]) if len(sys.argv) > 4 else 1)
    made = [make(rng) for _ in range(count)]
    texts = [text + SENTINEL for _, text in made]
    begun = time.monotonic()
    theirs = ask_all(nginx, texts)
    between = time.monotonic()
    own = ask_all(ours, texts)
    print(f"nginx: {between - begun:.1f} s, ringstep: {time.monotonic() - between:.1f} s")
    differs, wrong, words = {}, 0, {}
    for (odd, text), one, two in zip(made, theirs, own):
        one, two = word(one, NGINX_ACCEPTED), word(two, OUR_ACCEPTED)
        words[two] = words.get(two, 0) + 1
        if one == two:
            continue
        less = two.count("A") - one.count("A")
        who = "we" if less < 0 or (less == 0 and "R" in two and "R" not in one) else "nginx"
        # A request that is refused gets an answer.
        silent = "x" in two or (not two and one)
        known = [] if silent else [name for name in odd if is_known(who, name, odd, text, one, two)]
        for name in known:
            differs[name] = differs.get(name, 0) + 1
        if not known:
            wrong += 1
            if wrong <= 20:
                print(f"nginx: '{one}', ringstep: '{two}', for {odd}: {text[:400]!r}", file=sys.stderr)
    print(f"{count} requests, {sum(differs.values())} differ on purpose, {wrong} otherwise. Words: {words}")
    if count >= 2000:
        for name in ON_PURPOSE.keys() - differs.keys():
            print(f"no difference any more: {name}", file=sys.stderr)
            wrong += 1
    sys.exit(wrong != 0)


main()
