"""Joining with an invitation code. Needs SOUK_MARKET, where a market runs whose authority invites with CODE_BUYER and
CODE_SELLER, unless only the codes themselves are tested."""

import base64
import hashlib
import os
import stat
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).parent.parent))
import souk  # noqa: E402
from joining import Invitation  # noqa: E402


def code(authority="127.0.0.1:7442", domain="", version=1):
    fields = bytes([version]) + b"i" * 8 + b"s" * 16 + b"p" * 16
    for text in (authority.encode(), domain.encode()):
        fields += bytes([len(text)]) + text
    fields += hashlib.sha256(fields).digest()[:4]
    return "souk1" + base64.b32encode(fields).decode().lower().rstrip("=")


class Codes(unittest.TestCase):
    def test_a_code_is_read_with_line_breaks_and_in_capitals(self):
        for text in (code(), code().upper(), f" {code()[:40]}\n{code()[40:]}\n"):
            invitation = Invitation.decode(text)
            self.assertEqual((invitation.id, invitation.secret), (b"i" * 8, b"s" * 16))
            self.assertEqual((invitation.authority, invitation.domain), ("127.0.0.1:7442", "souk.internal"))
        self.assertEqual(Invitation.decode(code(domain="example.org")).domain, "example.org")

    def test_a_damaged_code_is_refused_before_anything_is_sent(self):
        good = code()
        for at in range(5, len(good)):
            swapped = "b" if good[at] != "b" else "c"
            with self.assertRaises(ValueError):
                Invitation.decode(good[:at] + swapped + good[at + 1 :])
        for text in ("", "hello", good[:-1], good + "a", "souk1", code(version=2)):
            with self.assertRaises(ValueError):
                Invitation.decode(text)


class Folders(unittest.TestCase):
    def test_a_folder_that_others_may_write_to_is_refused_before_anything_is_sent(self):
        with tempfile.TemporaryDirectory() as folder:
            home = Path(folder) / "souk"
            home.mkdir(mode=0o700)
            home.chmod(0o770)
            os.environ["XDG_CONFIG_HOME"] = folder
            for given in (None, home):
                with self.assertRaises(PermissionError):
                    souk.join(code(), folder=given)
            self.assertEqual(list(home.iterdir()), [])


@unittest.skipUnless("CODE_BUYER" in os.environ, "needs a market with an authority")
class Joins(unittest.TestCase):
    def setUp(self):
        self.home = Path(self.enterContext(tempfile.TemporaryDirectory()))
        os.environ["XDG_CONFIG_HOME"] = str(self.home)

    def test_a_code_brings_an_account_and_may_be_used_again_here(self):
        client = souk.join(os.environ["CODE_BUYER"])
        context = Path(client.credentials.files[0]).parent.parent
        self.assertEqual(context.parent, self.home / "souk" / "contexts")
        self.assertEqual(stat.S_IMODE((context / "live" / "party.key").stat().st_mode), 0o600)
        self.assertFalse(any((self.home / "souk" / "joining").iterdir()))
        client.close()
        again = souk.join(os.environ["CODE_BUYER"])
        self.assertEqual(again.party_id, client.party_id)
        again.close()
        buyer = os.environ.get("BUYER")
        if buyer:
            command = [buyer, "--context", context.name, "orders"]
            subprocess.run(command, env=os.environ, check=True, capture_output=True)

    def test_another_role_than_expected_is_refused_and_the_code_stays_good(self):
        with self.assertRaises(Exception):
            souk.join(os.environ["CODE_SELLER"], role="buyer")
        registering = mock.patch.object(souk.Souk, "register", autospec=True, side_effect=souk.Souk.register)
        with registering as register:
            client = souk.join(os.environ["CODE_SELLER"], role="seller", folder=self.home / "shop")
        self.assertEqual(client.credentials.role, "seller")
        # The name of the invitation, and not that of the folder.
        self.assertNotEqual(register.call_args.args[1], "shop")
        client.close()

    def test_another_authority_gets_nothing(self):
        good = Invitation.decode(os.environ["CODE_BUYER"])
        with tempfile.TemporaryDirectory() as folder, self.assertRaises(souk.NotTheAuthority):
            souk.join(code(authority=good.authority), folder=folder)


if __name__ == "__main__":
    unittest.main()
