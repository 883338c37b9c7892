"""bearerctl in Chinese against the real daemon: what the daemon really says leads to the right sentence before it.

What does not depend on the daemon is tests/test_bearerctl_chinese.py's.
"""

import pathlib
import re
import shutil
import time
import unittest

from harness import BEARERCTL, NEEDS_ROOT, EndToEnd, main, new_token

ALICE = 23451
HAN = re.compile("[\u4e00-\u9fff]")


@unittest.skipUnless((pathlib.Path(BEARERCTL).parent / "po/zh_CN/LC_MESSAGES/bearerd.mo").exists(),
                     "NOT TESTED: the catalogues are not built, since there is no msgfmt (gettext) on this machine")
class Chinese(EndToEnd):
    def sections(self):
        pat = "provider = coze-test\ntype = pat\n"
        return f"[credential spare]\n{pat}\n[credential hers]\n{pat}allow_users = 1\n"

    def bearerctl_for(self, user):
        """Another user gets a copy of the catalogue, too."""
        if user is None:
            return BEARERCTL
        copy = self.directory / "client"
        if not copy.exists():
            shutil.copytree(pathlib.Path(BEARERCTL).parent / "po", copy / "po", ignore=shutil.ignore_patterns("*.p"))
            shutil.copy(BEARERCTL, copy)
            for f in [copy, *copy.rglob("*")]:
                f.chmod(0o755)
        return str(copy / "bearerctl")

    def run_ctl(self, *arguments, code=0, **more):
        done = self.bearerctl(*arguments, environment={"LANG": "zh_CN.UTF-8"}, **more)
        self.assertEqual(done.returncode, code, done)
        return done

    def lead(self, *arguments, code, said, **more):
        """The first line, when the second one quotes what the daemon said."""
        done = self.run_ctl(*arguments, code=code, **more)
        self.assertEqual(done.stdout, "")
        lines = done.stderr.splitlines()
        self.assertRegex(lines[0], HAN)
        self.assertTrue(lines[1].startswith("bearerctl: 守护进程的原话："), lines)
        self.assertIn(said, lines[1])
        return lines[0]


class Leads(Chinese):
    def test_a_person_is_needed(self):
        for arguments, said, end in ((["web"], "bearerctl login web", "需要用户授权，请运行：bearerctl login web"),
                                     (["web", "--subject", "a b"], "subject", "：bearerctl login web --subject 'a b'"),
                                     (["spare"], "no token yet", "然后运行：bearerctl set spare")):
            self.assertTrue(self.lead("get", *arguments, code=5, said=said).endswith(end), arguments)

    def test_requests(self):
        for arguments, said, sentence in (
                (["get", "nobody"], "no credential is called", "bearerctl list"),
                (["get", "developer", "--min-ttl", "1d"], "min_ttl", "token_lifetime"),
                (["get", "pat", "--subject", "x"], "subject", "--subject"),
                (["logout", "developer"], "of type", "这种类型的凭据不支持此操作"),
                (["logout", "web"], "nothing to forget", "没有可以忘掉的授权或 token"),
                (["authorizations", "--cancel", "0" * 32], "no such authorization", "没有找到，或者已经不存在")):
            self.assertIn(sentence, self.lead(*arguments, code=1, said=said))

    @NEEDS_ROOT
    def test_rights(self):
        lead = self.lead("get", "hers", code=4, said="may not use", user=ALICE)
        self.assertTrue(lead.endswith("：bearerctl explain hers"), lead)
        self.assertIn("admin_users", self.lead("reload", code=4, said="administrator", user=ALICE))
        out = self.run_ctl("explain", "hers", code=4, user=ALICE).stdout
        self.assertIn("使用      不允许: 没有匹配的规则（nothing in allow_users", out)
        self.assertRegex(out.splitlines()[0], f"^进程      [0-9]+：用户 {ALICE}，组 {ALICE}")

    def test_refusals(self):
        self.emulator.deactivate("developer")
        self.assertIn("应用已被所有者在扣子控制台停用", self.lead("get", "developer", code=6, said="switched"))
        self.emulator.deactivate("developer", False)
        self.emulator.fault("status", status=503)
        self.assertIn("扣子暂时不可用", self.lead("get", "channel", code=6, said="HTTP 503"))

    def test_trouble_in_the_table(self):
        self.emulator.deactivate("developer")
        self.run_ctl("get", "developer", code=6)
        self.assertIn("应用已被所有者在扣子控制台停用", self.run_ctl("status", "developer").stdout.replace("\n          ", ""))

    def test_warning(self):
        self.assertStatus(self.daemon.set("spare", new_token(), expires_at=int(time.time()) + 3 * 86400 + 3600), 200)
        self.assertRegex(self.run_ctl("status").stdout, "(?m)^spare: 3天.*后到期：")

    def test_reload(self):
        self.daemon.conf.write_text(self.configuration() + "\n[credential new]\nprovider = coze-test\ntype = pat\n")
        self.assertIn("凭据 new：已添加\n", self.run_ctl("reload").stdout)
        self.daemon.conf.write_text(self.configuration() + "\n[credential new]\nprovider = nowhere\n")
        done = self.run_ctl("reload", code=1)
        self.assertIn("nowhere", done.stderr)
        self.assertTrue(done.stderr.endswith("bearerctl: 新配置未被采用；旧配置继续生效\n"), done.stderr)


if __name__ == "__main__":
    main()
