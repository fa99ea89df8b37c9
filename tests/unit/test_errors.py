"""The catalogue is complete, its keys are unique, and what is made from it is fresh."""

from __future__ import annotations

import re

import pytest
from parlour.errors import Entry, ErrorCode, NotFound, RtcError, catalogue, enter_refused, entry_of, find, login_refused
from parlour.errors.generate import ROOT
from parlour.errors.generate import main as generate

SPEC_SDK = {
    "INVALID_PARAMETER": 0x1000,
    "INVALID_OPERATION": 0x1001,
    "SIGNAL_CAHNNEL_SETUP_FAILED": 0x4001,
    "SIGNAL_CHANNEL_ERROR": 0x4002,
    "ICE_TRANSPORT_ERROR": 0x4003,
    "JOIN_ROOM_FAILED": 0x4004,
    "CREATE_OFFER_FAILED": 0x4005,
    "CLIENT_BANNED": 0x4040,
    "SERVER_TIMEOUT": 0x4041,
    "SUBSCRIPTION_TIMEOUT": 0x4042,
    "UNKOWN": 0xFFFF,
}
SPEC_ACCOUNT = [
    *(70001, 70002, 70003, 70004, 70005, 70006, 70007, 70008, 70009, 70010, 70013, 70014, 70015, 70016, 70017, 70018),
    *(70019, 70020, 70050, 70051, 70052, 70101, 70102, 70103, 70104, 70105, 70106, 70107, 70113, 70114, 70115, 70140),
    *(70145, 70169, 70201, 70202, 70203, 70204, 70205, 70206, 70207, 70208, 70209, 70210, 70211, 70212, 70213, 70214),
    *(70221, 70222, 70225, 70231, 70236, 70308, 70346, 70347, 70348, 70362, 70401, 70402, 70403),
]
LATER = [
    *range(0x1002, 0x1005),
    *range(0x4006, 0x4009),
    *(0x4010, *range(0x4043, 0x404C)),
    *(-8, 70252, 70398, 70500, 71000, 72000, 72001),
    *range(60002, 60022),
    *(90001, 90003, 90009, 90011, 90992, 90994, 90995, 91000, 40006, 40601, 30006, 30007, 30008),
    *(10006, -10011, -10012, -10013, -10015, -10016, -10018, -10019, -10020, -100027, -102011, -102052, -200001),
]


def test_the_specification_has_72_codes_and_all_are_here() -> None:
    assert len(SPEC_SDK) == 11
    assert len(set(SPEC_ACCOUNT)) == 61
    for name, code in SPEC_SDK.items():
        assert ErrorCode[name] == code
    for code in (*SPEC_ACCOUNT, *LATER):
        assert entry_of(code) is not None, code


def test_each_code_has_one_key_and_each_key_one_code() -> None:
    names = [name for entry in catalogue() for name in (entry.key, *entry.aliases)]
    assert len(names) == len(set(names))
    assert len({entry.code for entry in catalogue()}) == len(catalogue())
    for entry in catalogue():
        assert ErrorCode(entry.code).name == entry.key


def test_both_spellings_of_the_misspelled_keys_are_the_same_code() -> None:
    assert ErrorCode["SIGNAL_CAHNNEL_SETUP_FAILED"] is ErrorCode.SIGNAL_CHANNEL_SETUP_FAILED
    assert ErrorCode["UNKOWN"] is ErrorCode.UNKNOWN


@pytest.mark.parametrize("entry", catalogue(), ids=lambda entry: entry.key)
def test_every_code_says_what_happened_and_what_to_do(entry: Entry) -> None:
    for text in (entry.cause, entry.remedy, entry.raised_by):
        assert len(text) > 5 and text.endswith((".", "?")), text
    assert entry.cause != entry.remedy
    assert entry.state in ("raised", "planned", "foreign")
    assert entry.kind in ("sdk", "account", "room", "rest")


def test_no_two_codes_have_the_same_cause() -> None:
    causes = [entry.cause for entry in catalogue()]
    assert len(causes) == len(set(causes))


def test_the_codes_said_to_be_raised_are_those_that_the_sources_name() -> None:
    named: set[str] = set()
    for folder, pattern in (("python/parlour", "*.py"), ("web/sdk/src", "*.ts")):
        for path in (ROOT / folder).rglob(pattern):
            if "generated" not in path.parts and path.name != "codes.py":
                named |= set(re.findall(r"\bErrorCode\.([A-Z][A-Z0-9_]+)", path.read_text(encoding="utf-8")))
    raised = {entry.key for entry in catalogue() if entry.state == "raised"}
    assert named - raised == set(), "these are raised now: say so in catalogue.toml"
    assert raised - named == set(), "nothing raises these: say so in catalogue.toml"


def test_what_is_made_from_the_catalogue_is_fresh() -> None:
    assert generate(["--check"]) == 0


def test_a_stale_file_is_noticed(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("parlour.errors.generate.ROOT", tmp_path)
    assert generate(["--check"]) == 1
    assert generate([]) == 0
    assert generate(["--check"]) == 0


def test_a_refused_login_names_both_codes_in_the_v4_form() -> None:
    error = login_refused(ErrorCode.USERSIG_KEY_MISMATCH, "signature does not match the key of app 1400000000")
    assert error.message == (
        "join failed: signature does not match the key of app 1400000000 (70009) <SIGNAL_CHANNEL_SETUP_FAILED 0x4001>"
    )
    assert str(error) == error.message == error.message_
    assert (error.getCode(), error.get_code(), error.code) == (0x4001, 0x4001, 0x4001)
    assert (error.getExtraCode(), error.get_extra_code(), error.extra_code) == (70009, 70009, 70009)
    assert (error.key, error.name) == ("SIGNAL_CHANNEL_SETUP_FAILED", "RtcError")


def test_a_refused_entry_carries_the_room_code() -> None:
    error = enter_refused(ErrorCode.ROOM_ID_INVALID, "room id 0 is not from 1 to 4294967294")
    assert error.message == "join failed: room id 0 is not from 1 to 4294967294 (-10012) <JOIN_ROOM_FAILED 0x4004>"
    assert error.code == 0x4004


def test_an_error_without_detail_tells_the_catalogued_cause() -> None:
    error = RtcError(ErrorCode.UNKNOWN)
    assert error.message == "Something failed that has no code of its own <UNKNOWN 0xFFFF>"
    assert error.extra_code == 0
    assert "(70002)" in login_refused(ErrorCode.USERSIG_EMPTY).message


@pytest.mark.parametrize(
    ("typed", "code"),
    [
        ("70009", 70009),
        (" 70009 ", 70009),
        ("-8", -8),
        ("-10012", -10012),
        ("0x4001", 0x4001),
        ("0X4001", 0x4001),
        ("16385", 0x4001),
        ("0xffff", 0xFFFF),
        ("unkown", 0xFFFF),
        ("Unknown", 0xFFFF),
        ("signal_cahnnel_setup_failed", 0x4001),
        ("Signal Channel Setup Failed", 0x4001),
        ("join-room-failed", 0x4004),
    ],
)
def test_a_code_is_found_however_it_is_typed(typed: str, code: int) -> None:
    found = find(typed)
    assert isinstance(found, Entry)
    assert found.code == code


@pytest.mark.parametrize(
    ("typed", "nearest"),
    [
        ("4001", 0x4001),
        ("404b", 0x404B),
        ("8", -8),
        ("10018", -10018),
        ("-70013", 70013),
        ("70011", 70010),
        ("JOIN_ROOM_FAILD", 0x4004),
        ("usersig_expird", 70001),
    ],
)
def test_a_slip_is_answered_with_the_code_that_was_meant(typed: str, nearest: int) -> None:
    found = find(typed)
    assert isinstance(found, NotFound)
    assert found.nearest is not None
    assert found.nearest.code == nearest


@pytest.mark.parametrize("typed", ["", "  ", "zzzzzzzzzz", "9" * 6000, "0x" + "f" * 6000, "٧٠٠٠٩", "\x00"])
def test_nonsense_finds_nothing_and_breaks_nothing(typed: str) -> None:
    assert isinstance(find(typed), NotFound)
