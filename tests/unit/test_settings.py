"""Settings: the sample is complete, every source works, every wrong value gets one sentence that says where."""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path

import parlour.settings
import pytest
from parlour.settings import Settings, SettingsError, known_keys, load_settings

SAMPLE = Path(parlour.settings.__file__).with_name("settings.sample.toml")


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("PARLOUR_"):
            monkeypatch.delenv(name)


def uncommented() -> str:
    """The sample with every setting switched on."""
    return re.sub(r"(?m)^#(\w+ = )", r"\1", SAMPLE.read_text(encoding="utf-8"))


def flat(tree: dict[str, object], prefix: str = "") -> dict[str, object]:
    found: dict[str, object] = {}
    for name, value in tree.items():
        if isinstance(value, dict):
            found |= flat(value, f"{prefix}{name}.")
        else:
            found[prefix + name] = value
    return found


def test_the_sample_as_shipped_changes_nothing(tmp_path: Path) -> None:
    assert flat(tomllib.loads(SAMPLE.read_text(encoding="utf-8"))) == {}


def test_every_key_is_in_the_sample_and_every_key_of_the_sample_is_known() -> None:
    assert tuple(flat(tomllib.loads(uncommented()))) == known_keys()


def test_the_values_of_the_sample_are_the_defaults(tmp_path: Path) -> None:
    config = tmp_path / "parlour.toml"
    config.write_text(uncommented(), encoding="utf-8")
    assert load_settings(config).model_dump() == load_settings().model_dump() == Settings().model_dump()


def test_every_key_of_the_sample_has_a_comment_above_it() -> None:
    lines = SAMPLE.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines):
        if re.match(r"#\w+ = ", line):
            assert re.match(r"#( |\w+ = )", lines[number - 1]), line


def test_the_environment_wins_over_the_file_and_the_command_line_over_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "parlour.toml"
    config.write_text("port = 1\nmedia_port = 1\nhost = '1.1.1.1'\n[limits]\nsend_queue = 1\nmessage_burst = 7\n")
    monkeypatch.setenv("PARLOUR_PORT", "2")
    monkeypatch.setenv("PARLOUR_MEDIA_PORT", "2")
    monkeypatch.setenv("PARLOUR_LIMITS__SEND_QUEUE", "2")
    found = load_settings(config, {"port": 3, "host": None, "limits.send_queue": 3})
    assert (found.port, found.media_port, found.host) == (3, 2, "1.1.1.1")
    assert (found.limits.send_queue, found.limits.message_burst) == (3, 7)


def test_lists_in_the_environment_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARLOUR_MEDIA__ANNOUNCE", "192.0.2.1, 2001:db8::1")
    assert [str(address) for address in load_settings().media.announce] == ["192.0.2.1", "2001:db8::1"]


def test_a_tilde_is_the_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/somewhere")
    assert load_settings().data == Path("/somewhere/.local/share/parlour")
    assert load_settings(overrides={"tls_cert": "~/c", "tls_key": "~/k"}).tls_cert == Path("/somewhere/c")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("port = 99999", "{}: port is 99999, but it should be less than or equal to 65535."),
        ("port = 'x'", "{}: port is 'x', but it has to be a whole number."),
        ("prot = 1", "{}: prot is no setting of Parlour. Did you mean port?"),
        ("[limits]\nmessage_byte = 1", "{}: limits.message_byte is no setting of Parlour. Did you mean limits.mess"),
        ("[limits]\nmessage_bytes = 1", "{}: limits.message_bytes is 1, but it should be greater than or equal to"),
        ("limits = 1", "{}: limits is 1, but it has to be a table of settings."),
        (
            "[media]\nannounce = ['1.2.3']",
            "{}: media.announce is '1.2.3', but '1.2.3' is no IP address and no name of an interface.",
        ),
        ("log_level = 'loud'", "{}: log_level is 'loud', but it should be 'debug', 'info', 'warning' or 'error'."),
        ("host = ''", "{}: host is '', but it must not be empty."),
        ("log_json = 'maybe'", "{}: log_json is 'maybe', but it has to be true or false."),
        (
            "tls_cert = 'c'",
            "The settings do not fit together: tls_cert and tls_key belong together: give both or",
        ),
        (
            "[signaling]\nsocket_timeout = 5",
            "The settings do not fit together: signaling.socket_timeout must be",
        ),
        ("port = [", "{} is not TOML: "),
    ],
)
def test_a_wrong_file_gets_one_sentence_that_names_file_and_key(tmp_path: Path, text: str, sentence: str) -> None:
    config = tmp_path / "parlour.toml"
    config.write_text(text)
    with pytest.raises(SettingsError) as refused:
        load_settings(config)
    assert str(refused.value).startswith(sentence.format(config))
    assert "\n" not in str(refused.value)


def test_wrong_environment_and_command_line_are_named_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match=r"^command line: port is -1, but it should be greater than or equal to"):
        load_settings(overrides={"port": -1})
    monkeypatch.setenv("PARLOUR_PORT", "many")
    with pytest.raises(SettingsError, match=r"^environment: PARLOUR_PORT is 'many', but it has to be a whole number"):
        load_settings()


def warnings_of() -> tuple[Settings, list[str]]:
    """The settings, and what was said about the environment."""
    said: list[str] = []
    return load_settings(warn=said.append), said


@pytest.mark.parametrize(
    ("variable", "nearest"),
    [("PARLOUR_PROT", "PARLOUR_PORT"), ("PARLOUR_LIMITS__MESAGE_BYTES", "PARLOUR_LIMITS__MESSAGE_BYTES")],
)
def test_an_unknown_variable_is_a_warning_that_names_the_nearest_setting(
    monkeypatch: pytest.MonkeyPatch, variable: str, nearest: str
) -> None:
    monkeypatch.setenv(variable, "1")
    found, said = warnings_of()
    assert found.model_dump() == Settings().model_dump()
    assert said == [
        f"The environment variable {variable} is no setting of Parlour and is left alone. Did you mean {nearest}?"
    ]


def test_an_unknown_variable_that_is_near_no_setting_is_not_said_to_mean_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARLOUR_FOO", "1")
    assert warnings_of()[1] == ["The environment variable PARLOUR_FOO is no setting of Parlour and is left alone."]


# What Kubernetes gives a container beside Services of these names and ports.
INJECTED = {
    "parlour": {
        "PARLOUR_SERVICE_HOST": "10.0.171.239",
        "PARLOUR_SERVICE_PORT": "8080",
        "PARLOUR_SERVICE_PORT_HTTP": "8080",
        "PARLOUR_PORT": "tcp://10.0.171.239:8080",
        "PARLOUR_PORT_8080_TCP": "tcp://10.0.171.239:8080",
        "PARLOUR_PORT_8080_TCP_PROTO": "tcp",
        "PARLOUR_PORT_8080_TCP_PORT": "8080",
        "PARLOUR_PORT_8080_TCP_ADDR": "10.0.171.239",
    },
    "parlour-media": {
        "PARLOUR_MEDIA_SERVICE_HOST": "fd00::5",
        "PARLOUR_MEDIA_SERVICE_PORT": "8081",
        "PARLOUR_MEDIA_SERVICE_PORT_RTP": "8081",
        "PARLOUR_MEDIA_PORT": "udp://[fd00::5]:8081",
        "PARLOUR_MEDIA_PORT_8081_UDP": "udp://[fd00::5]:8081",
        "PARLOUR_MEDIA_PORT_8081_UDP_PROTO": "udp",
        "PARLOUR_MEDIA_PORT_8081_UDP_PORT": "8081",
        "PARLOUR_MEDIA_PORT_8081_UDP_ADDR": "fd00::5",
    },
    "parlour-console": {"PARLOUR_CONSOLE_PORT": "tcp://10.0.0.9:443", "PARLOUR_CONSOLE_SERVICE_HOST": "10.0.0.9"},
}


@pytest.mark.parametrize("service", list(INJECTED))
def test_what_an_orchestrator_injects_is_left_alone(monkeypatch: pytest.MonkeyPatch, service: str) -> None:
    for name, value in INJECTED[service].items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PARLOUR_HOST", "0.0.0.0")
    found, said = warnings_of()
    assert said == []
    assert (found.host, found.port, found.media_port) == ("0.0.0.0", 8080, 8081)


def test_a_missing_or_unreadable_file_gets_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read: No such file or directory"):
        load_settings(tmp_path / "none.toml")
    with pytest.raises(SettingsError, match="cannot be read: Is a directory"):
        load_settings(tmp_path)
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match="is not UTF-8 text"):
        load_settings(tmp_path / "binary.toml")


@pytest.mark.parametrize("key", ["database", "login_state", "counters", "master_key"])
def test_what_may_hold_a_secret_is_never_shown(tmp_path: Path, key: str) -> None:
    wrong = tmp_path / "wrong.toml"
    wrong.write_text(f'{key} = ["hunter2"]\n')
    with pytest.raises(SettingsError) as refused:
        load_settings(wrong)
    assert key in str(refused.value)
    assert "hunter2" not in str(refused.value)
    secret = "postgresql://parlour:hunter2@host/name" if key != "master_key" else "hunter2"
    assert "hunter2" not in repr(load_settings(None, {key: secret}))
