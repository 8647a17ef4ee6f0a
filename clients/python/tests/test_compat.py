"""The drop-in: what the old class did, and the old documentation's own lines."""

from __future__ import annotations

import datetime
import json
import logging
import runpy
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Server, asked_at

import keylend
from keylend.compat import StabilityApiGenerator, StabilityApiKey

SNIPPETS = Path(__file__).parent / "snippets"


def snippet(name: str, **known: Any) -> dict[str, Any]:
    """Runs a snippet of the old documentation, word for word."""
    return runpy.run_path(str(SNIPPETS / f"{name}.py"), init_globals=known)


def test_the_old_snippets_run_as_they_stand(server: Server, shim: None, capsys: pytest.CaptureFixture[str]) -> None:
    snippet("find")
    assert capsys.readouterr().out == "No usable API key found\n"
    server.add("stability", "sk-old-0123456789ab")
    for count in range(4):
        found = snippet("find")
        assert found["api_key"] == "sk-old-0123456789ab"
        assert capsys.readouterr().out == f"Using API key with usage count: {count}\n"
        snippet("increment", api_key=found["api_key"])
    assert server.key("stability", "sk-old-0123456789ab")["usage_count"] == 4
    snippet("find")
    assert capsys.readouterr().out == "No usable API key found\n"


def test_the_old_generators_snippets_ask_a_person_or_have_a_key_made(
    server: Server, shim: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert snippet("generate")["success"] is False
    assert snippet("generate_and_close")["success"] is False
    assert capsys.readouterr().out == ""
    assert len(server.run("keys", "requests", "stability", "--json").splitlines()) == 2
    monkeypatch.setattr(StabilityApiGenerator, "pool", "made")
    assert snippet("generate")["success"] is True
    assert capsys.readouterr().out == "Successfully generated new API key\n"
    assert snippet("generate_and_close")["success"] is True
    assert len(server.run("keys", "list", "--pool", "made", "--json").splitlines()) == 2
    monkeypatch.setattr(StabilityApiGenerator, "pool", "refused")
    assert snippet("generate")["success"] is False


def test_why_no_key_was_generated_is_logged(
    server: Server, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with caplog.at_level(logging.WARNING, "keylend"):
        assert StabilityApiGenerator().generate_api_key() is False
        monkeypatch.setattr(StabilityApiGenerator, "pool", "refused")
        assert StabilityApiGenerator().generate_api_key() is False
    assert "a person was asked for a key" in caplog.text and "generation_failed" in caplog.text


@pytest.fixture
def own_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A models.py with other classes, in which one import has taken the class's place."""
    (tmp_path / "models.py").write_text(
        textwrap.dedent(
            """
            import datetime

            from keylend.compat import StabilityApiKey

            class User:
                def __init__(self, email):
                    self.email = email
                    self.made_at = datetime.datetime.now()

            class Image:
                def __init__(self, user, path):
                    self.user, self.path = user, path
                    self.key = StabilityApiKey.find_usable_key()
            """
        ),
        encoding="utf-8",
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    import models  # type: ignore[import-not-found]

    yield models
    del sys.modules["models"]


def test_one_import_takes_the_place_of_the_class(server: Server, own_models: Any) -> None:
    server.add("stability", "sk-old-0123456789ab")
    image = own_models.Image(own_models.User("a@example.org"), "x.png")
    assert image.key.api_key == "sk-old-0123456789ab"
    assert own_models.StabilityApiKey.increment_usage(image.key.api_key) is True
    assert own_models.StabilityApiKey.find_by_id(image.key._id).usage_count == 1


def test_a_found_key_is_what_it_was(server: Server) -> None:
    before = datetime.datetime.now() - datetime.timedelta(seconds=1)
    assert StabilityApiKey.find_usable_key(max_uses=3) is None
    server.add("stability", "sk-old-0123456789ab")
    key = StabilityApiKey.find_usable_key(max_uses=3)
    assert key is not None
    assert (key.api_key, key.usage_count, key.is_active) == ("sk-old-0123456789ab", 0, True)
    # As the old class had it: by this machine's clock, without a zone.
    assert key.last_used is not None and key.last_used.tzinfo is None
    assert before <= key.last_used <= datetime.datetime.now() + datetime.timedelta(seconds=1)
    assert len(key._id) == 24 and "sk-old" not in repr(key)
    assert StabilityApiKey.increment_usage("sk-unknown") is False
    assert StabilityApiKey.increment_usage("sk-old-0123456789ab") is True
    assert StabilityApiKey.find_usable_key(max_uses=0) is None
    assert StabilityApiKey.check_credits("sk-old-0123456789ab") == 24
    assert StabilityApiKey.check_credits("sk-unknown") is None
    for _ in range(29):
        StabilityApiKey.increment_usage("sk-old-0123456789ab")
    assert StabilityApiKey.check_credits("sk-old-0123456789ab") == 0


def test_a_key_is_found_by_its_id_masked(server: Server) -> None:
    server.add("stability", "sk-old-0123456789ab")
    id = server.key("stability", "sk-old-0123456789ab")["id"]
    key = StabilityApiKey.find_by_id(id)
    assert key is not None
    assert (key.api_key, key._id, key.last_used) == ("sk-ol...89ab", id, None)
    # What is shown of it is not written back as its text.
    key.usage_count = 3
    assert key.save() == id
    assert server.key("stability", "sk-old-0123456789ab")["usage_count"] == 3
    for unknown in ("0" * 24, "x", None, 7):
        assert StabilityApiKey.find_by_id(unknown) is None


def test_a_key_is_saved(server: Server) -> None:
    used = datetime.datetime(2026, 1, 2, 3, 4, 5)
    key = StabilityApiKey("sk-saved-0123456789", usage_count=2, last_used=used, is_active=False)
    id = key.save()
    shown = server.key("stability", "sk-saved-0123456789")
    assert (shown["id"], shown["usage_count"], shown["is_active"]) == (id, 2, False)
    assert keylend.instant.local(keylend.instant.parse(shown["last_used"])) == used
    again = StabilityApiKey("sk-saved-0123456789", usage_count=1)
    assert again.save() == id
    shown = server.key("stability", "sk-saved-0123456789")
    assert (shown["usage_count"], shown["is_active"]) == (1, True)
    with pytest.raises(keylend.InvalidRequest) as told:
        StabilityApiKey("two words").save()
    assert "visible ASCII" in str(told.value) and "two words" not in str(told.value)


def test_each_needs_its_role(session: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = {}
    for role in ("service", "admin"):
        printed = session.run("token", "new", role, "--role", role, "--json")
        made[role] = json.loads(printed)
    server = Server(tmp_path, {"KEYLEND_TOKENS": ",".join(token["entry"] for token in made.values())})
    try:
        server.add("stability", "sk-old-0123456789ab")
        asked_at(monkeypatch, server.url)
        with pytest.raises(keylend.Forbidden) as without:
            StabilityApiKey.find_usable_key()
        assert without.value.code == "unauthenticated"
        asked_at(monkeypatch, server.url, made["service"]["token"])
        key = StabilityApiKey.find_usable_key()
        assert key is not None and StabilityApiKey.increment_usage("sk-old-0123456789ab")
        assert StabilityApiKey.check_credits("sk-old-0123456789ab") == 24
        for needs_admin in (key.save, lambda: StabilityApiKey.find_by_id(key._id)):
            with pytest.raises(keylend.Forbidden):
                needs_admin()
        assert StabilityApiGenerator().generate_api_key() is False
        asked_at(monkeypatch, server.url, made["admin"]["token"])
        assert key.save() == key._id
        assert StabilityApiKey.find_by_id(key._id) is not None
    finally:
        server.stop()
