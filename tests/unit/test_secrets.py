"""The master key: where it comes from, what it seals, and that nothing else opens it."""

from __future__ import annotations

import base64
import errno
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from parlour.storage import MasterKey, MasterKeyError, SealedError, UnreadableRowError
from parlour.storage import secrets as storage_secrets
from parlour.storage.secrets import fresh_key, is_sealed, write_key_file

A, B = b"\xaa" * 32, b"\xbb" * 32
KEY = MasterKey([A])
SEALED = KEY.seal("open sesame", "key of app 1")


def test_what_is_sealed_opens_and_looks_different_each_time() -> None:
    again = KEY.seal("open sesame", "key of app 1")
    assert again != SEALED
    assert KEY.open(again, "key of app 1") == KEY.open(SEALED, "key of app 1") == "open sesame"
    assert is_sealed(SEALED)
    assert "sesame" not in SEALED
    assert SEALED.startswith(f"sealed:1:{KEY.id}:")


@given(st.text(st.characters(codec="utf-8")))
def test_any_text_can_be_sealed(text: str) -> None:
    assert KEY.open(KEY.seal(text, "here"), "here") == text


def test_a_sealed_text_that_was_moved_elsewhere_does_not_open() -> None:
    with pytest.raises(SealedError, match=rf"^The secret of key of app 2 does not open with master key {KEY.id}\.$"):
        KEY.open(SEALED, "key of app 2")


def test_another_key_does_not_open_it_and_both_are_named() -> None:
    other = MasterKey([B])
    with pytest.raises(SealedError, match=rf"sealed with master key {KEY.id}; this server has {other.id}\.$"):
        other.open(SEALED, "key of app 1")


def test_a_key_that_goes_by_the_name_of_another_does_not_open_it() -> None:
    other = MasterKey([B])
    with pytest.raises(SealedError, match="does not open"):
        other.open(SEALED.replace(KEY.id, other.id), "key of app 1")


def test_the_first_key_seals_and_all_of_them_open() -> None:
    both = MasterKey([B, A])
    assert both.id == MasterKey([B]).id
    assert both.open(SEALED, "key of app 1") == "open sesame"
    assert MasterKey([B]).open(both.seal("x", "here"), "here") == "x"


@pytest.mark.parametrize("stored", ["", "plain", "sealed:", "sealed:1:x", "sealed:2:a:b", "sealed:1:a:b:c", "0" * 64])
def test_what_is_no_sealed_text_is_unreadable(stored: str) -> None:
    with pytest.raises(UnreadableRowError, match=r"^What is stored as the secret of here has no form that is known\.$"):
        KEY.open(stored, "here")


@pytest.mark.parametrize("packed", ["%", "abc", "é"])
def test_a_sealed_text_that_is_no_base64_is_damaged(packed: str) -> None:
    with pytest.raises(UnreadableRowError, match=r"^What is stored as the secret of here is damaged\.$"):
        KEY.open(f"sealed:1:{KEY.id}:{packed}", "here")


@pytest.mark.parametrize("length", [0, 1, 12, 27, 28, 40])
def test_a_sealed_text_that_is_cut_does_not_open(length: int) -> None:
    box = base64.b64decode(SEALED.rpartition(":")[2])[:length]
    assert len(box) == min(length, 39)
    cut = f"sealed:1:{KEY.id}:{base64.b64encode(box).decode()}"
    if length >= 39:
        assert KEY.open(cut, "key of app 1") == "open sesame"
        return
    with pytest.raises(SealedError):
        KEY.open(cut, "key of app 1")


@given(st.data())
def test_no_changed_sealed_text_opens(data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(SEALED) - 1))
    letter = data.draw(st.characters(codec="utf-8").filter(lambda drawn: drawn != SEALED[at]))
    with pytest.raises((SealedError, UnreadableRowError)) as refused:
        KEY.open(SEALED[:at] + letter + SEALED[at + 1 :], "key of app 1")
    assert "open sesame" not in str(refused.value)


@given(st.binary(max_size=200))
def test_no_made_up_box_opens(box: bytes) -> None:
    with pytest.raises(SealedError):
        KEY.open(f"sealed:1:{KEY.id}:{base64.b64encode(box).decode()}", "here")


def test_neither_its_name_nor_its_looks_tell_the_key() -> None:
    assert A.hex()[:8] not in f"{KEY!r} {KEY.id} {vars(KEY)['_boxes']}"
    assert len(KEY.id) == 12


# --- as a text --------------------------------------------------------------------------------------------------------


def test_a_setting_has_one_key_or_several_separated_by_commas() -> None:
    assert MasterKey.of_text(A.hex()).keys == [A]
    assert MasterKey.of_text(f"{B.hex()}, {A.hex()}").keys == [B, A]
    assert MasterKey.of_text(A.hex().upper()).keys == [A]


@pytest.mark.parametrize("text", ["", ",", "x", "aa" * 31, "aa" * 33, "zz" * 32, f"{'aa' * 32},", f"{'aa' * 32};"])
def test_a_setting_that_is_no_key_is_one_sentence_that_does_not_quote_it(text: str) -> None:
    with pytest.raises(MasterKeyError) as refused:
        MasterKey.of_text(text)
    assert str(refused.value) == (
        "The setting master_key has to hold 64 hex digits a key; `openssl rand -hex 32` makes one."
    )


# --- in a file --------------------------------------------------------------------------------------------------------


def test_a_missing_file_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    file = tmp_path / "new" / "master.key"
    made = MasterKey.of_file(file)
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o077 == 0
    assert file.read_text() == f"{made.keys[0].hex()}\n"
    assert MasterKey.of_file(file).keys == made.keys
    assert os.listdir(file.parent) == ["master.key"]


def test_several_that_make_the_file_together_end_with_one_key(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: MasterKey.of_file(tmp_path / "master.key").keys[0], range(32)))
    assert len(set(made)) == 1
    assert os.listdir(tmp_path) == ["master.key"]


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620, 0o601, 0o666])
def test_a_file_that_others_can_use_is_refused_with_the_remedy(tmp_path: Path, mode: int) -> None:
    file = tmp_path / "master.key"
    write_key_file(file, [A])
    file.chmod(mode)
    with pytest.raises(MasterKeyError) as refused:
        MasterKey.of_file(file)
    assert str(refused.value) == (
        f"The master key file {file} can be read by others (mode {mode:04o}): chmod 600 {file}"
    )


@pytest.mark.parametrize("content", [b"", b"\n\n", b"hello\n", b"\xff\xfe", A.hex().encode()[:-2], b"aa" * 32 + b"\nx"])
def test_a_file_that_holds_no_key_is_one_sentence_that_does_not_quote_it(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "master.key"
    file.write_bytes(content)
    file.chmod(0o600)
    with pytest.raises(
        MasterKeyError, match=r"^The master key file .* hold(s no hex digits\.|.* makes one\.)"
    ) as refused:
        MasterKey.of_file(file)
    assert "aaaa" not in str(refused.value)


def test_a_file_that_cannot_be_read_or_made_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(MasterKeyError, match=r"^The master key file .* cannot be read: Is a directory\.$"):
        MasterKey.of_file(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(MasterKeyError, match=r"^The master key file .*file/master\.key cannot be written: "):
        MasterKey.of_file(tmp_path / "file" / "master.key")


def test_a_file_may_hold_several_keys_and_empty_lines(tmp_path: Path) -> None:
    file = tmp_path / "master.key"
    write_key_file(file, [B, A])
    file.write_text(f"\n{file.read_text()}\n")
    assert MasterKey.of_file(file).keys == [B, A]


def test_a_key_that_was_added_to_the_file_is_found_when_it_is_needed(tmp_path: Path) -> None:
    file = tmp_path / "master.key"
    write_key_file(file, [A])
    running = MasterKey.of_file(file)
    write_key_file(file, [B, A])
    assert running.open(MasterKey([B]).seal("x", "here"), "here") == "x"
    assert running.id == MasterKey([B]).id
    assert running.open(SEALED, "key of app 1") == "open sesame"


def test_a_file_that_went_bad_meanwhile_changes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "master.key"
    write_key_file(file, [A])
    running = MasterKey.of_file(file)
    stranger = MasterKey([B]).seal("x", "here")
    for damage in (lambda: file.write_text("banana"), lambda: file.chmod(0o644), file.unlink):
        damage()
        with pytest.raises(SealedError, match="was sealed with master key"):
            running.open(stranger, "here")
        assert running.open(SEALED, "key of app 1") == "open sesame"
        assert running.open(running.seal("y", "here"), "here") == "y"


def test_fresh_keys_are_not_the_same() -> None:
    assert len({fresh_key() for _ in range(50)}) == 50
    assert {len(fresh_key()) for _ in range(50)} == {32}


def test_a_rotation_between_looking_and_reading_is_not_missed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "master.key"
    write_key_file(file, [A])
    read = storage_secrets._read

    def slow(path: Path) -> list[bytes]:
        keys = read(path)
        monkeypatch.setattr(storage_secrets, "_read", read)
        write_key_file(file, [B])
        return keys

    monkeypatch.setattr(storage_secrets, "_read", slow)
    running = MasterKey.there(file)
    assert running.open(MasterKey([B]).seal("secret", "here"), "here") == "secret"
    assert running.keys == [B]


def test_a_missing_file_has_no_keys_until_it_is_back(tmp_path: Path) -> None:
    file = tmp_path / "master.key"
    missing = MasterKey.there(file)
    sealed = MasterKey([A]).seal("secret", "here")
    with pytest.raises(SealedError, match=r"this server has none: .*master\.key is missing"):
        missing.open(sealed, "here")
    with pytest.raises(MasterKeyError, match=r"master\.key is missing: put it back"):
        missing.seal("secret", "here")
    assert not file.exists()
    write_key_file(file, [A])
    assert missing.open(sealed, "here") == "secret"


def test_no_draft_with_keys_is_left_behind_when_the_file_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "master.key").mkdir()
    with pytest.raises(MasterKeyError, match="cannot be written"):
        write_key_file(tmp_path / "master.key", [A])
    assert [path.name for path in tmp_path.iterdir()] == ["master.key"]


def test_a_file_system_without_hard_links_gets_its_key_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refused)
    made = MasterKey.of_file(tmp_path / "master.key")
    assert MasterKey.of_file(tmp_path / "master.key").keys == made.keys
    assert (tmp_path / "master.key").stat().st_mode & 0o077 == 0
