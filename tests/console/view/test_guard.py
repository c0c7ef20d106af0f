"""Who may look at a run, and what a browser is told to forbid."""

from __future__ import annotations

import errno
import socket
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from console.errors import UsageError
from console.serving.address import listen
from console.view.server import ViewSettings, url_of
from console.view.source import find_runs
from tests.console.view.conftest import Viewed

TOKEN = "a-token-of-the-tests"


@pytest.fixture(scope="module")
def locked(finished_run: Path) -> Viewed:
    return Viewed(finished_run, token=TOKEN)


def test_without_a_token_only_names_of_the_loopback_are_answered(viewed: Viewed) -> None:
    for host in ("127.0.0.1:8200", "localhost", "[::1]:8200"):
        assert viewed.client.get(viewed.base, headers={"host": host}).status_code == 200
    for host in ("evil.example", "192.168.1.5:8200", ""):
        assert viewed.client.get(viewed.base, headers={"host": host}).status_code == 403


def test_a_token_is_brought_once_in_the_url_and_then_in_a_cookie(locked: Viewed) -> None:
    locked.client.cookies.clear()
    assert locked.client.get(locked.base).status_code == 401
    assert locked.client.get(f"{locked.base}?token=wrong").status_code == 401
    reply = locked.client.get(f"{locked.base}tasks?q=a&token={TOKEN}")
    assert reply.status_code == 303
    assert reply.headers["location"] == f"{locked.base}tasks?q=a"
    cookie = reply.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert "acdc_view_8200" in cookie
    assert locked.client.get(locked.base).status_code == 200
    locked.client.cookies.clear()
    for static in ("view.js", "view.css"):
        assert locked.client.get(f"/static/{static}").status_code == 401
    bearer = {"authorization": f"Bearer {TOKEN}"}
    assert locked.client.get(locked.base, headers=bearer).status_code == 200


def test_with_its_token_an_address_leads_to_itself_on_this_host(locked: Viewed) -> None:
    for asked, leads in (
        ("//evil.example/", "/evil.example/"),
        ("/%5Cevil.example/", "/%5Cevil.example/"),
        ("/runs/a%20b%25%3F%23%C3%BC%3Cx%3E/", "/runs/a%20b%25%3F%23%C3%BC%3Cx%3E/"),
    ):
        reply = locked.client.get(f"http://127.0.0.1:8200{asked}?token={TOKEN}")
        assert (reply.status_code, reply.headers["location"]) == (303, leads)


def test_beyond_the_loopback_there_is_always_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ACDC_VIEW_TOKEN", raising=False)
    assert ViewSettings().token() is None
    assert ViewSettings(host="::1").token() is None
    first, second = (ViewSettings(host="0.0.0.0").token() for _ in range(2))
    assert first is not None
    assert len(first) >= 32
    assert first != second
    monkeypatch.setenv("ACDC_VIEW_TOKEN", TOKEN)
    assert ViewSettings(host="0.0.0.0").token() == TOKEN


def test_a_token_that_can_be_guessed_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACDC_VIEW_TOKEN", "x")
    with pytest.raises(UsageError, match="ACDC_VIEW_TOKEN has 1 characters, and needs at least 16"):
        ViewSettings(host="0.0.0.0").token()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "127.0.0.1"])
def test_the_address_that_is_printed_can_be_opened_from_elsewhere(host: str) -> None:
    try:
        listener = listen(host, 0)
    except UsageError:
        pytest.skip(f"this machine cannot listen on {host}")
    with listener:
        listener.listen()
        url = urlsplit(url_of(listener, TOKEN))
        assert url.hostname not in (None, "0.0.0.0", "::")
        assert (url.hostname == "127.0.0.1") == (host == "127.0.0.1")
        assert url.query == f"token={TOKEN}"
        # It leads here: by the machine's own address, or by its name.
        with socket.create_connection((url.hostname, url.port), timeout=10):
            pass


def test_where_no_way_leads_out_the_machine_is_called_by_its_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def unreachable(*_: object) -> None:
        raise OSError(errno.ENETUNREACH, "Network is unreachable")

    with listen("0.0.0.0", 0) as listener:
        port = listener.getsockname()[1]
        monkeypatch.setattr(socket.socket, "connect", unreachable)
        assert url_of(listener, None) == f"http://{socket.gethostname()}:{port}/"


def test_every_reply_forbids_what_is_not_ours(viewed: Viewed) -> None:
    for path in (viewed.base, "/static/view.js", "/nowhere", f"{viewed.base}?format=json"):
        headers = viewed.client.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self'" in policy
        assert "unsafe" not in policy
        assert "http" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "same-origin"


def test_the_pages_name_no_other_host(viewed: Viewed) -> None:
    for page in ("", "tasks", "experts", "skills"):
        html = viewed.html(page).replace("http://www.w3.org/2000/svg", "")
        assert "://" not in html.partition("<main")[0]
        assert "<script>" not in html
        assert " style=" not in html


def test_the_viewer_only_reads(viewed: Viewed) -> None:
    for method in ("PUT", "DELETE", "PATCH"):
        assert viewed.client.request(method, viewed.base).status_code == 405


OWN, OTHER = "http://127.0.0.1:8200", "https://evil.example"


@pytest.mark.parametrize(
    ("origin", "site", "code"),
    [
        (OWN, None, 405),  # let in; without --ask nothing takes it
        (OWN, "same-origin", 405),
        ("null", "same-origin", 405),
        (None, "same-origin", 405),
        # No page of another site makes a visitor's browser ask.
        (None, None, 403),
        ("null", None, 403),
        (OTHER, None, 403),
        ("null", "cross-site", 403),
        (OTHER, "cross-site", 403),
        (OTHER, "same-origin", 403),
        (OWN, "same-site", 403),
        ("null", "same-site", 403),
        ("null", "none", 403),
    ],
)
def test_only_a_page_of_the_viewer_may_send_a_form(
    viewed: Viewed, origin: str | None, site: str | None, code: int
) -> None:
    said = {"origin": origin, "sec-fetch-site": site}
    headers = {name: value for name, value in said.items() if value is not None}
    reply = viewed.client.post(f"{viewed.base}ask", headers=headers)
    assert reply.status_code == code
    # Whoever is refused finds the way back.
    assert f'href="{viewed.base}ask"' in reply.text


def test_files_beside_the_static_ones_are_not_served(viewed: Viewed) -> None:
    for path in ("/static/../server.py", "/static/%2e%2e/server.py", "/static/..%2fserver.py"):
        assert viewed.client.get(path).status_code == 404


def test_folders_are_runs_or_hold_some(finished_run: Path, copied: Path, tmp_path: Path) -> None:
    assert [source.name for source in find_runs([copied.parent])] == ["copied"]
    twice = find_runs([finished_run, copied, copied])
    assert [source.name for source in twice] == [finished_run.name, "copied"]
    empty = tmp_path / "empty"
    empty.mkdir()
    for folder in (empty, tmp_path / "absent"):
        with pytest.raises(UsageError):
            find_runs([folder])


def test_runs_of_one_name_are_told_apart(finished_run: Path, tmp_path: Path) -> None:
    import shutil

    other = shutil.copytree(finished_run, tmp_path / finished_run.name)
    viewed = Viewed(finished_run, other)
    names = [f"{path.parent.name}~tiny" for path in (finished_run, other)]
    assert [source.name for source in viewed.sources] == names
    assert [source.name for source in find_runs([other, finished_run])] == names[::-1]
    home = viewed.client.get("/").text
    assert str(other) in home
    for source in viewed.sources:
        page = viewed.client.get(f"/runs/{source.name}/settings?format=json")
        assert page.json()["run"] == source.name


def test_names_of_runs_do_not_depend_on_the_order(tmp_path: Path) -> None:
    folders = [
        tmp_path / each
        for each in ("a/x", "b/x", "c/a/x", "a~x", "y", "p~q/r", "p/q~r", "p/r", "q~r")
    ]
    for folder in folders:
        folder.mkdir(parents=True)
        (folder / "config.json").write_text('{"config": {}}')
        (folder / "run.db").touch()
    names = {source.folder.path: source.name for source in find_runs(folders)}
    assert len({*names.values()}) == len(folders)
    assert names[tmp_path / "y"] == "y"
    assert names[tmp_path / "b/x"] == "b~x"
    assert names[tmp_path / "c/a/x"] == "c~a~x"
    assert not any("/" in name for name in names.values())
    for order in (folders[::-1], sorted(folders)):
        assert {source.folder.path: source.name for source in find_runs(order)} == names
    # One folder is one run, however it is named.
    (tmp_path / "link").symlink_to(tmp_path / "y")
    assert len(find_runs([tmp_path / "y", tmp_path / "link"])) == 1
