"""The account service over real stores: logins, each code from its cause and in its order."""

from __future__ import annotations

from pathlib import Path

import pytest
from parlour.accounts import Identity, LoginRequest
from parlour.storage import AccountType, AppLimits, Attempt, NewAccount
from parlour.usersig import sign_v1
from structlog.testing import capture_logs

from tests.contract.stores import APP, NOW, Opener, Service, beside, on, refusal
from tests.unit.usersigs import alphabet, ec_keys, members_v1, members_v2, pack

WRONG_KEY = "?" * 64


# --- a login that succeeds --------------------------------------------------------------------------------------------


async def test_a_right_usersig_logs_in_and_registers_its_user(service: Service) -> None:
    granted = await service.login("ann")
    assert granted.login.identity == Identity(APP, "ann")
    assert (granted.login.issued_at, granted.login.expires_at) == (NOW, NOW + 3600)
    assert granted.ticket_expires_at == NOW + 600
    assert [account.user_id for account in await service.stores.accounts.accounts.page(APP)] == ["ann"]
    assert await service.stores.login_states.online(APP, ["ann"], now=NOW) == {"ann": ["Web"]}


async def test_version_1_logs_in_with_a_public_key_of_the_app(service: Service) -> None:
    private, public = ec_keys("secp256k1")
    await service.stores.accounts.add_public_key(APP, public, now=NOW)
    granted = await service.login("ann", sign_v1(APP, "ann", private, now=NOW))
    assert granted.login.identity == Identity(APP, "ann")


async def test_an_app_made_later_is_known_at_once(service: Service) -> None:
    assert (await service.refusal(sdk_app_id=6))[0] == -8
    key = (await service.stores.accounts.create_app(6, now=NOW)).keys.secrets[0]
    granted = await service.login("ann", service.sig("ann", app=6, key=key), sdk_app_id=6)
    assert granted.login.identity == Identity(6, "ann")


async def test_user_ids_that_look_alike_are_different_users(service: Service) -> None:
    alike = ["ann", "Ann", "аnn", "ann ", "ａｎｎ", "a\u0301nn", "ánn", "'; DROP TABLE accounts; --", "%", "\\"]
    for user_id in alike:
        assert (await service.login(user_id)).login.identity.user_id == user_id
        assert (await service.refusal("ann*", service.sig(user_id)))[0] == 70013
    assert await service.stores.accounts.accounts.count(APP) == len(alike)


async def test_a_usersig_is_good_in_its_last_second(service: Service) -> None:
    sig = service.sig(expire=60)
    service.clock.now = NOW + 60.9
    await service.login(user_sig=sig)
    service.clock.now = NOW + 61
    code, sentence = await service.refusal(user_sig=sig)
    assert (code, "expired" in sentence) == (70001, True)


# --- values that are none ---------------------------------------------------------------------------------------------


async def test_an_unknown_or_impossible_app_is_minus_8(service: Service) -> None:
    for app in (0, -1, 2**32, 2**80, str(APP), 1.5, True, None, [APP]):
        assert await service.refusal(sdk_app_id=app) == (-8, "sdkAppId is not a number from 1 to 4294967295"), app
    assert await service.refusal(sdk_app_id=5) == (-8, "this server has no app 5")


async def test_a_user_id_is_a_text_of_1_to_32_bytes(service: Service) -> None:
    sig = service.sig("ann")
    for user_id, sentence in {
        "": "userId is empty",
        None: "userId is not a text",
        7: "userId is not a text",
        b"ann": "userId is not a text",
        ("ann",): "userId is not a text",
        "x" * 33: "userId has 33 bytes; 32 are allowed",
        "é" * 17: "userId has 34 bytes; 32 are allowed",
        "\ud800": "userId is not valid Unicode",
        "a\0b": "userId holds a NUL character",
    }.items():
        assert await service.refusal(user_id, sig) == (70402, sentence), user_id
    await service.login("é" * 16)


async def test_what_is_no_usersig_has_its_own_codes(service: Service) -> None:
    good = service.sig("ann")
    for user_sig, code in {
        None: 70002,
        "": 70002,
        7: 70402,
        ("x",): 70402,
        good[:-1]: 70003,
        good[:40]: 70004,
        service.sig("Ann"): 70013,
        service.sig("ann", app=5): 70014,
        service.sig("ann", key=WRONG_KEY): 70009,
        sign_v1(APP, "ann", ec_keys()[0], now=NOW): 70016,
    }.items():
        assert (await service.refusal("ann", user_sig))[0] == code, user_sig
    assert (await service.refusal("ann", None))[1] == (await service.refusal("ann", ""))[1]
    assert await service.stores.accounts.accounts.count(APP) == 0


# --- the order of the checks ------------------------------------------------------------------------------------------


async def test_with_everything_wrong_one_thing_after_the_other_is_told(service: Service) -> None:
    """All is wrong at first and is put right from the first check to the last: so the earlier check always wins."""
    store, database = service.stores.accounts, service.database
    locks = beside(database, "counters.db")
    await store.put_account_type(AccountType(7, "seven"))
    await on(database, "UPDATE account_types SET methods = 'damaged' WHERE number = 0")
    await on(
        locks, f"INSERT INTO locks (sdk_app_id, source, user_id, until) VALUES ({APP}, '::/64', 'ann', {NOW + 30})"
    )
    await store.accounts.put(NewAccount(APP, "ann", "plain", NOW))
    await store.accounts.invalidate(APP, "ann", now=NOW - 10)
    await store.accounts.delete_many(APP, ["ann"], now=NOW - 10, within=5)
    await store.accounts.block(APP, "ann", "", now=NOW)
    (key,) = await store.keys(APP)
    await store.remove_key(APP, key.id)
    await service.change(account_type=None, registration="imported", limits=AppLimits(0, 1))
    await service.stores.counters.attempt(Attempt(APP, "elsewhere", "bob", NOW, limit=1))

    wrong: dict[str, object] = {"key": WRONG_KEY, "identifier": "Ann", "sdkappid": 5, "time": NOW + 9999, "expire": 0}
    request: dict[str, object] = {"sdk_app_id": 5, "account_type": "x", "user_id": "a" * 33, "source": "::1"}

    def signed(sig: str = "?", **changes: object) -> str:
        wrong.update(changes)
        members = members_v2(**wrong)  # type: ignore[arg-type]
        return pack(members | {"TLS.sig": sig or members["TLS.sig"]})

    async def told(code: int, words: str, **changes: object) -> None:
        request.update(changes)
        refused = await refusal(service.accounts.login(LoginRequest(**({"user_sig": ""} | request))))  # type: ignore[arg-type]
        assert (refused[0], words in refused[1]) == (code, True), refused

    await told(-8, "this server has no app 5")
    await told(70204, f"app {APP} is set up under no account type", sdk_app_id=APP)
    await service.change(account_type=0)
    await told(70205, "the app's account type could not be looked up")
    await store.put_account_type(AccountType(0, "default"))
    await told(70145, "the account type 'x' is none that this server knows")
    await told(70140, f"app {APP} is set up under account type 0, not 7", account_type="7")
    await told(70402, "userId has 33 bytes; 32 are allowed", account_type=0)
    await told(70050, "user ann is locked for this address for 30 s more", user_id="ann")
    await on(locks, "DELETE FROM locks")
    await told(70051, f"user ann is on the blacklist of app {APP}")
    await store.accounts.unblock(APP, "ann")
    await told(70114, f"app {APP} has its 1 logins of this second already")
    await service.change(limits=AppLimits())
    await told(70402, "userSig is not a text", user_sig=7)
    await told(70002, "", user_sig="")
    await told(70003, "", user_sig="!")
    await told(70004, "", user_sig=alphabet(b"not packed"))
    await told(70005, "", user_sig=pack(b"{"))
    await told(70006, "not an object", user_sig=pack([]))
    await told(70013, "Ann", user_sig=signed())
    await told(70014, "5", user_sig=signed(identifier="ann"))
    await told(70010, "", user_sig=signed(sdkappid=APP))
    await told(70001, "its lifetime is 0 seconds", user_sig=signed(time=NOW - 20))
    await told(70001, "expired 10 s ago", user_sig=signed(expire=10))
    await told(70007, "TLS.sig is not standard base64", user_sig=signed(expire=60))
    await told(70015, "", user_sig=signed(""))
    await store.add_secret(APP, now=NOW, secret=service.key)
    await told(70009, f"signature does not match the key of app {APP}")
    await told(
        70052, "user ann was kicked or deleted after this UserSig was issued", user_sig=signed("", key=service.key)
    )
    await told(70107, f"app {APP} takes imported accounts only, and has no ann", user_sig=signed("", time=NOW - 9))
    await on(database, "UPDATE meta SET value = 'damaged' WHERE name = 'token_secret'")
    await service.change(registration="automatic", limits=AppLimits(max_accounts=1))
    await store.accounts.put(NewAccount(APP, "bob", "plain", NOW))
    await told(70348, "the key that signs tickets is not available")
    await on(database, "DELETE FROM meta WHERE name = 'token_secret'")
    await store.token_secret()
    await told(70398, "the app has as many accounts as it may have")
    await service.change(limits=AppLimits())
    assert await store.accounts.count(APP) == 1
    await service.accounts.login(LoginRequest(**request))  # type: ignore[arg-type]
    assert await store.accounts.count(APP) == 2


async def test_version_1_is_told_of_its_signature_before_whom_it_names(service: Service) -> None:
    private, public = ec_keys()
    stranger = sign_v1(5, "Ann", private, now=NOW - 7200, expire=3600)
    assert (await service.refusal(user_sig=stranger))[0] == 70016
    await service.stores.accounts.add_public_key(APP, ec_keys("secp256k1")[1], now=NOW)
    await service.stores.accounts.put_account_type(AccountType(0, "default", ("hmac",)))
    assert (await service.refusal(user_sig=stranger))[0] == 70015
    await service.stores.accounts.put_account_type(AccountType(0, "default", ("ecdsa",)))
    assert (await service.refusal(user_sig=stranger))[0] == 70009
    await service.stores.accounts.add_public_key(APP, public, now=NOW)
    for user_sig, code in (
        (stranger, 70013),
        (sign_v1(5, "ann", private, now=NOW - 7200, expire=3600), 70014),
        (sign_v1(APP, "ann", private, now=NOW - 7200, expire=3600), 70001),
        (service.sig(), 70015),
    ):
        assert (await service.refusal(user_sig=user_sig))[0] == code
    await service.login("ann", sign_v1(APP, "ann", private, now=NOW))


async def test_the_account_type_in_a_usersig_of_version_1_counts_as_the_requests(service: Service) -> None:
    await service.stores.accounts.put_account_type(AccountType(7, "seven"))
    for stated, code in (("8", 70145), ("x", 70145), ("7", 70140)):
        sig = pack(members_v1(account_type=stated, identifier="x" * 33))
        assert (await service.refusal("y" * 33, sig))[0] == code, stated
    assert (await service.refusal("y" * 33, pack(members_v1())))[0] == 70402
    assert (await service.refusal("ann", account_type=True))[0] == 70145
    assert (await service.refusal("ann", account_type="0" * 10))[0] == 70145


# --- registration -----------------------------------------------------------------------------------------------------


async def test_where_accounts_are_imported_only_imported_users_and_admins_log_in(service: Service) -> None:
    await service.change(registration="imported", admins=("root",))
    assert await service.refusal("ann") == (70107, f"app {APP} takes imported accounts only, and has no ann")
    assert (await service.refusal("administrator"))[0] == 70107
    await service.manager.import_account(await service.app(), "ann", nick=None, face_url=None)
    await service.login("ann")
    await service.login("root")


async def test_a_login_keeps_the_profile_of_an_imported_account(service: Service) -> None:
    await service.manager.import_account(await service.app(), "ann", nick="Ann", face_url="https://x.example/a.png")
    await service.login("ann")
    (account,) = await service.stores.accounts.accounts.page(APP)
    assert (account.nick, account.face_url) == ("Ann", "https://x.example/a.png")


# --- keys -------------------------------------------------------------------------------------------------------------


async def test_in_a_rotation_old_and_new_key_verify_until_the_old_one_is_taken_away(service: Service) -> None:
    store = service.stores.accounts
    before = await service.login("ann")
    (old,) = await store.keys(APP)
    new = await store.add_secret(APP, now=NOW)
    after = await service.login("ann", service.sig(key=new.value))
    await service.login("ann", service.sig(key=old.value))
    await store.remove_key(APP, old.id)
    assert (await service.refusal("ann", service.sig(key=old.value)))[0] == 70009
    assert await refusal(service.accounts.enter(before.login, before.ticket)) == (
        -10013,
        "the UserSig became invalid after login: the key that signed it was taken away",
    )
    await service.accounts.enter(after.login, after.ticket)


# --- administrators ---------------------------------------------------------------------------------------------------


async def test_an_administrator_is_proven_by_the_checks_of_a_login_and_by_the_apps_list(service: Service) -> None:
    async def proven(identifier: str, user_sig: str) -> None:
        caller = await service.accounts.rest_app(APP, identifier)
        await service.accounts.prove_admin(caller, user_sig, "127.0.0.1")

    await proven("administrator", service.sig("administrator"))
    assert await refusal(proven("ann", "")) == (70019, "the parameter usersig is missing or empty")
    assert (await refusal(proven("ann", service.sig("administrator"))))[0] == 70013
    assert (await refusal(proven("administrator", service.sig("administrator", key=WRONG_KEY))))[0] == 70009
    assert await refusal(proven("ann", service.sig("ann"))) == (70403, f"ann is not among the admins of app {APP}")
    await service.change(admins=("ann",))
    await proven("ann", service.sig("ann"))
    assert (await refusal(proven("administrator", service.sig("administrator"))))[0] == 70403
    assert await refusal(service.accounts.rest_app(5, "ann")) == (70020, "this server has no app 5")
    await service.change(state="suspended")
    assert await refusal(service.accounts.rest_app(APP, "ann")) == (60016, f"app {APP} is suspended")


# --- lock-out ---------------------------------------------------------------------------------------------------------


async def test_ten_failures_lock_the_user_for_that_address_alone_and_for_a_minute(opened: Opener) -> None:
    service = await opened.service()
    wrong = service.sig(key=WRONG_KEY)
    for _ in range(10):
        assert (await service.refusal("ann", wrong, source="192.0.2.1"))[0] == 70009
    assert await service.refusal("ann", source="192.0.2.1") == (
        70050,
        "too many failed logins: user ann is locked for this address for 60 s more",
    )
    await service.login("ann", source="192.0.2.2")
    await service.login("bob", source="192.0.2.1")
    service.clock.now = NOW + 61
    await service.login("ann", source="192.0.2.1")


async def test_what_is_not_the_users_fault_never_locks(opened: Opener) -> None:
    service = await opened.service(lockout__failures=1)
    await service.change(registration="imported")
    for _ in range(3):
        assert (await service.refusal("ann"))[0] == 70107
    await service.change(registration="automatic", limits=AppLimits(max_accounts=1))
    await service.login("bob")
    for _ in range(3):
        assert (await service.refusal("ann"))[0] == 70398
    await on(service.database, "UPDATE account_types SET methods = 'damaged'")
    for _ in range(3):
        assert (await service.refusal("bob"))[0] == 70205
    await service.stores.accounts.put_account_type(AccountType(0, "default"))
    await service.login("bob")


async def test_guessing_does_not_use_up_the_logins_of_others(opened: Opener) -> None:
    service = await opened.service(accounts__logins_per_second=3, lockout__failures=0)
    for _ in range(20):
        assert (await service.refusal("ann", "!"))[0] == 70003
    for user_id in ("bob", "eve", "kim"):
        await service.login(user_id)
    assert await service.refusal("ann") == (70114, f"app {APP} has its 3 logins of this second already")
    service.clock.now = NOW + 1
    await service.login("ann")


# --- verifiers of the operator's own ----------------------------------------------------------------------------------

VERIFIERS = """
from parlour.accounts import Refuse

async def no_robots(applicant):
    if applicant.user_id == "robot":
        raise Refuse("robots are not welcome")

class NoBees:
    async def __call__(self, applicant):
        if applicant.user_id == "bee":
            raise Refuse("no bees")

no_bees = NoBees()

def broken(applicant):
    if applicant.user_id == "eve":
        raise OSError("no disk for " + applicant.credential)
"""


async def test_verifiers_have_a_say_after_the_built_in_checks(
    opened: Opener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "verifiers_of_a_test.py").write_text(VERIFIERS)
    monkeypatch.syspath_prepend(tmp_path)
    names = ("verifiers_of_a_test:no_robots", "verifiers_of_a_test:no_bees", "verifiers_of_a_test:broken")
    service = await opened.service(plugins__verifiers=names)
    await service.login("ann")
    assert (await service.refusal("robot", service.sig("robot", key=WRONG_KEY)))[0] == 70009
    assert await service.refusal("robot") == (70018, "a verifier refused: robots are not welcome")
    assert await service.refusal("bee") == (70018, "a verifier refused: no bees")
    assert await service.stores.accounts.accounts.registered(APP, "robot") is False


async def test_an_unexpected_failure_is_70308_and_is_logged_under_its_incident(
    opened: Opener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "verifiers_of_a_test.py").write_text(VERIFIERS)
    monkeypatch.syspath_prepend(tmp_path)
    service = await opened.service(plugins__verifiers=("verifiers_of_a_test:broken",))
    user_sig = service.sig("eve")
    with capture_logs() as logs:
        code, sentence = await service.refusal("eve", user_sig)
    (entry,) = [entry for entry in logs if entry["event"] == "account service failed"]
    assert (code, sentence) == (
        70308,
        f"the account service failed; incident {entry['incident']} in the server's log",
    )
    assert "in broken" in entry["trace"]
    assert "OSError: no disk for [credential]" in entry["trace"]
    assert service.key not in str(logs)
    assert user_sig not in str(logs)
