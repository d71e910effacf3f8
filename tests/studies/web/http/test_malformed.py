"""Whatever is sent, on whatever route: an answer that says what is wrong with it, in plain text."""

from __future__ import annotations

import io
import json
import pickle
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from PIL import Image

from studies.web.evaluator import Limits
from studies.web.grading import GradingService
from studies.web.grading import create_app as grading_app
from studies.web.service import create_app as service_app
from studies.web.tokens import read_tokens
from tests.studies.export.hostile_pickles import entry
from tests.studies.web.grading.tasks import KEYS, FakeEvaluator, demo_task
from tests.studies.web.http.asking import Answer, Asked, Headers, ask
from tests.studies.web.service.services import made_service, photograph

_FORM = (b"content-type", b"multipart/form-data; boundary=b")
_TOKEN = (b"token", b"token-of-red")

_HEADERS: list[tuple[bytes, bytes]] = [
    *((b"origin", value) for value in (
        b"http://[", b"http://[::1", b"http://]", b"http://[v1.]", b"http://a@[b", b"null", b"",
        b"\xff", b"http://\xe2\x84\xaa", b"x" * 10_000,
    )),
    *((b"host", value) for value in (
        b"[", b"[::1", b"[::1]x", b"[v1.x]", b"localhost:abc", b"localhost:99999", b"\xff",
        b"localhost:80:80", b"127.0.0.1@evil", b"localhost/..", b"localhost?x", b"localhost#",
        b"1234:5678::1:8080",
    )),
    *((b"range", value) for value in (
        b"bytes=", b"bytes=9-1", b"bytes=" + b"0-0," * 2000, b"bytes=99999999999999999999-",
    )),
    (b"authorization", b"Bearer \xff\xfe"), (b"cookie", b"lime_tuner_session=\xff"),
    (b"content-length", b"-1"), (b"content-length", b"9" * 5000), (b"content-length", b"\xb2"),
    (b"content-type", b"\xff"), (b"if-none-match", b"\xff"), (b"accept", b"\xff/\xff"),
    (b"x-forwarded-proto", b"\xff"), (b"x-forwarded-for", b"[::1]:abc"), (b"token", b"\xed\xa0"),
]  # fmt: skip
_TARGETS = (
    b"*", b"//evil/..", b"http://evil/", b"/%0d%0ax", b"/assets/%e2%80%ae",
    b"/api/studies?most=NaN", b"/api/studies?most=1e999", b"/api/studies?most=" + b"9" * 5000,
    b"/api/studies/%00", b"/api/studies/%ff", b"/api/studies/" + b"a" * 9000,
    b"/api/studies/a/images/%00/photo.png", b"/report/a/tables/%00.csv",
    b"/dashboard/api/studies/99999999999999999999999", b"/dashboard/api/studies/1?after=x",
    b"/dashboard/api/studies/1?after=9999999999999999999999999",
    b"/dashboard/api/studies/1/plot/nonsense", b"/csv/99999999999999999999999",
    b"/csv/1?trial_ids=abc", b"/csv/-1", b"/artifacts/%00/1", b"/artifacts/1/..%2f..%2fs.db",
    b"/static/%0a", b"/static/..%2f..%2fx", b"/static/" + b"a" * 5000, b"/dashboard/%ff%fe",
    b"/score_board?sort=%ed%a0%80", b"/score_board?sort=%E2%80%AE", b"/score_board?%",
)  # fmt: skip
_METHODS = ("GET", "HEAD", "POST", "DELETE", "PROPFIND")


def _form(*parts: tuple[bytes, bytes]) -> bytes:
    """A body of (headers of a part, its content)."""
    body = b"".join(b"--b\r\n%s\r\n\r\n%s\r\n" % part for part in parts)
    return body + b"--b--\r\n"


def _disposition(name: bytes, file_name: bytes | None = None) -> bytes:
    file = b"" if file_name is None else b'; filename="%s"' % file_name
    return b'Content-Disposition: form-data; name="%s"%s' % (name, file)


def _parts(field: bytes, good: bytes) -> list[tuple[Headers, bytes]]:
    """Headers and bodies of forms that are odd in every place but in the file itself."""
    file = (_disposition(field, b"a.png"), good)
    whole = _form(file)
    types = (
        b"multipart/form-data", b"multipart/form-data; boundary=", b"multipart/form-data;;;;",
        b"multipart/form-data; boundary=\xff", b'multipart/form-data; boundary="', b"\xff", b"",
        b"multipart/form-data; boundary=" + b"x" * 5000,
        b'multipart/form-data; boundary="' + b"\\" * 60,
        b"multipart/form-data; boundary*=nonsense''%ff",
    )  # fmt: skip
    charsets = (
        b"undefined", b"punycode", b"a\0b", b"idna", b"utf-7", b"unicode_escape", b"utf-16",
        b"rot13", b"nonsense", b"x" * 9000,
    )  # fmt: skip
    names = (
        b"a\0.png", b"a\x1b[31m.png", b"../../x.png", b"x" * 10_000, "\u202egnp.exe".encode(),
        b"%00%2e%2e%2f.png", b"\xed\xa0\x80.png", b"C:\\\\x\\y.png", b"", "\u2028.png".encode(),
    )  # fmt: skip
    heads = (
        b"", b"Content-Disposition", b"Content-Disposition: form-data", b"a\0b: x",
        b'Content-Disposition: form-data; filename="a"', b"X: " + b"y" * 70_000,
        b"\r\n".join([b"A: b"] * 2000),
        *(b"Content-Disposition: form-data; name=%s; filename*=%s" % (field, each) for each in (
            b"utf-8''%ed%a0%80.png", b"nonsense''a", b"undefined''a", b"punycode''%ff", b"a\0b''a",
            b"unicode_escape''%5Cud800",
        )),
    )  # fmt: skip
    odd = (_disposition(b"\\ud800\xff"), b"\xff+2AA-")
    return [
        *(([(b"content-type", each)], whole) for each in types),
        *(([(b"content-type", _FORM[1] + b"; charset=" + each)], _form(odd, file))
          for each in charsets),
        *(([_FORM], _form((_disposition(field, each), good))) for each in names),
        *(([_FORM], _form((each, good))) for each in heads),
        ([_FORM], whole[:60]), ([_FORM], b"\r\n" * 50_000), ([_FORM], b""), ([_FORM], b"junk"),
    ]  # fmt: skip


def _picture(kind: str, mode: str = "RGB", **options: Any) -> bytes:
    buffer = io.BytesIO()
    more = [Image.new(mode, (8, 8), 200)]
    options = {"save_all": True, "append_images": more} if options.pop("several", False) else {}
    Image.new(mode, (8, 8)).save(buffer, kind, **options)
    return buffer.getvalue()


def _png_of(width: int, height: int, chunk: bytes = b"") -> bytes:
    def framed(kind: bytes, data: bytes) -> bytes:
        checked = kind + data
        return struct.pack(">I", len(data)) + checked + struct.pack(">I", zlib.crc32(checked))

    header = framed(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk + framed(b"IDAT", b"") + framed(b"IEND", b"")


_TAKEN = {
    "MPO": _picture("MPO", several=True), "CMYK": _picture("JPEG", "CMYK"),
    "16 bit": _picture("PNG", "I;16"), "animated": _picture("PNG", several=True),
    "animated WebP": _picture("WEBP", several=True), "palette": _picture("PNG", "P"),
}  # fmt: skip
_REFUSED = {
    "GIF": _picture("GIF"), "no pixel": _png_of(0, 9), "bomb": _png_of(60_000, 60_000),
    "larger bomb": _png_of(2**31 - 1, 2**31 - 1), "cut": _picture("JPEG")[:50],
    "three bytes": b"\xff\xd8\xff", "begun": _picture("PNG")[:30],
    "WebP of nothing": b"RIFF\xff\xff\xff\xffWEBPVP8X" + b"\xff" * 40,
    "segments": b"\xff\xd8\xff\xe0\x00\x02\xff\xda" + b"\xff" * 50,
    "text chunk": _png_of(9, 9, struct.pack(">I", 5) + b"zTXt" + b"\0\0abc" + b"1234"),
    "chunk of 2 GB": _png_of(9, 9, struct.pack(">I", 2**31) + b"tEXt"),
    "colour profile": _png_of(9, 9, struct.pack(">I", 3) + b"iCCP" + b"a\0\1" + b"1234"),
}  # fmt: skip


def _fields() -> list[bytes]:
    odd: list[tuple[bytes, Sequence[bytes]]] = [
        (b"trials", (b"NaN", b"1e999", b"-0", b"true", b"1.0", b"0x10", b"1_0", b"9" * 400)),
        (b"timeout", (b"NaN", b"1e999", b"-0", b"inf", b"1_0", b"true", b"1e-400")),
        (b"study", ("\u202e".encode(), b"a\0", b"../x", b"x" * 10_000, b"\xed\xa0\x80")),
        (b"reference", (b"gradcam@1e999", b"gradcam@nan", b"@", b"/etc/passwd")),
        ("\u202e".encode(), (b"x",)), (b"", (b"x",)),
    ]  # fmt: skip
    image = (_disposition(b"images", b"a.png"), photograph())
    return [_form(image, (_disposition(name), value)) for name, values in odd for value in values]


def _asked_at_every_path(app: FastAPI) -> list[Asked]:
    """Every header on half of the paths, with methods in turn; every odd target."""
    paths = {r.path.replace("{name}", "x") for r in app.routes if isinstance(r, APIRoute)}
    here = [path.replace("{key}", "k").replace("{shown}", "photo") for path in sorted(paths)]
    here = [path.replace("{file:path}", "tables/x.csv") for path in here]
    pairs = [
        (_METHODS[(row + column // 2) % len(_METHODS)], path, header)
        for row, path in enumerate((*here, "/dashboard/", "/nowhere"))
        for column, header in enumerate(_HEADERS)
        if (row + column) % 2
    ]
    return [
        *((method, path.encode(), [header], b"") for method, path, header in pairs
          if (method, path[-7:]) != ("GET", "/events")),
        *((method, target, [], b"") for target in _TARGETS for method in ("GET", "POST")),
    ]  # fmt: skip


def _check(asked: Sequence[Asked], answers: Sequence[Answer], least: int = 200) -> None:
    for request, answer in zip(asked, answers, strict=True):
        where = (request[0], request[1][:90], [h[:2] for h in request[2]], request[3][:90])
        assert answer.error is None, (where, answer.error)
        assert least <= answer.status < 500, (where, answer.status, answer.body[:200])
        if answer.headers.get(b"content-type") == b"application/problem+json":
            detail = json.loads(answer.body)["detail"]
            assert detail.isprintable(), (where, detail)
            assert detail, where


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> FastAPI:
    return service_app(made_service(tmp_path_factory.mktemp("malformed")))


@pytest.fixture
def grading(tmp_path: Path) -> FastAPI:
    (tmp_path / "tokens").write_text("red token-of-red\n")
    return grading_app(
        GradingService(
            demo_task(), read_tokens(tmp_path / "tokens"), Limits(),
            f"sqlite:///{tmp_path / 'g.db'}", (FakeEvaluator(),), per_hour=10**6,
        )
    )  # fmt: skip


@pytest.mark.parametrize("which", ["service", "grading"])
def test_malformed_heads_and_targets(which: str, request: pytest.FixtureRequest) -> None:
    app = request.getfixturevalue(which)
    asked = _asked_at_every_path(app)
    assert len(asked) > 100
    _check(asked, ask(app, asked))


def test_malformed_forms_and_names(service: FastAPI, grading: FastAPI) -> None:
    asked: list[Asked] = [
        ("POST", b"/api/studies", *each) for each in _parts(b"images", photograph())
    ]
    asked += [("POST", b"/api/session", [], body) for body in (b"\xed\xa0\x80", b"\0", b"{" * 4096)]
    _check(asked, ask(service, asked))
    upload = pickle.dumps({key: entry() for key in KEYS})
    asked = [
        ("POST", b"/lime", [_TOKEN, *headers], body) for headers, body in _parts(b"file", upload)
    ]
    _check(asked, ask(grading, asked))


def test_odd_fields_are_refused(service: FastAPI) -> None:
    asked: list[Asked] = [("POST", b"/api/studies", [_FORM], body) for body in _fields()]
    _check(asked, ask(service, asked), least=400)


@pytest.mark.parametrize(("pictures", "statuses"), [(_TAKEN, {202}), (_REFUSED, {413, 422})])
def test_pictures_of_every_kind(
    pictures: dict[str, bytes], statuses: set[int], service: FastAPI
) -> None:
    asked: list[Asked] = [
        ("POST", b"/api/studies", [_FORM], _form((_disposition(b"images", b"a.png"), picture)))
        for picture in pictures.values()
    ]
    answers = ask(service, asked)
    found = dict(zip(pictures, [answer.status for answer in answers], strict=True))
    assert {name: status for name, status in found.items() if status not in statuses} == {}
    _check(asked, answers)


def _text(text: str) -> bytes:
    data = text.encode("utf-8", "surrogatepass")
    return b"\x8c" + bytes([len(data)]) + data


_PICKLES = {
    "half a surrogate as a key": b"\x80\x04}" + _text("\ud800") + b"}s.",
    "half a surrogate as a module": b"\x80\x04" + _text("\ud800") + _text("x") + b"\x93.",
    "direction in a class": b"\x80\x04" + _text("lime") + _text("\u202eSeg\x1b[31m") + b"\x93.",
    "half a surrogate, protocol 0": b"V\\ud800\n.",
    "number": b"I1e999\n.", "digits": b"I" + b"9" * 6000 + b"\n.", "nan": b"Fnan\n.",
    "deep": b"\x80\x04" + b"]" * 40_000 + b"a" * 39_999 + b".", "stop": b".", "get": b"g99\n.",
    "not UTF-8": b"\x80\x04\x8c\x02\xff\xfe.", "short": b"\x80\x02X\xff\xff\xff\xff.",
}  # fmt: skip


def test_odd_pickles_are_refused(grading: FastAPI, caplog: pytest.LogCaptureFixture) -> None:
    asked: list[Asked] = [
        ("POST", b"/lime", [_TOKEN, _FORM], _form((_disposition(b"file", b"p"), data)))
        for data in _PICKLES.values()
    ]
    _check(asked, ask(grading, asked), least=400)
    assert all(line.isprintable() for record in caplog.messages for line in record.splitlines())


def test_what_readers_did_not_foresee_is_refused_too(
    grading: FastAPI, service: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*arguments: object, **keywords: object) -> None:
        raise RecursionError("a defect of the reader")

    monkeypatch.setattr("studies.web.grading.app.load_restricted", fails)
    upload = _form((_disposition(b"file", b"p"), pickle.dumps({key: entry() for key in KEYS})))
    (answer,) = ask(grading, [("POST", b"/lime", [_TOKEN, _FORM], upload)])
    assert answer.status == 400
    monkeypatch.setattr("PIL.Image.open", fails)
    body = _form((_disposition(b"images", b"a.png"), photograph()))
    (answer,) = ask(service, [("POST", b"/api/studies", [_FORM], body)])
    assert answer.status == 422
