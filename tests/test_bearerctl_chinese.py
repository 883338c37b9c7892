"""bearerctl in Chinese: which locale leads to it, what is said, and what stays as it is.

usage: test_bearerctl_chinese.py BEARERCTL [unittest arguments]

The daemon is that of test_bearerctl.py. Any machine has the locale C.UTF-8; real ones of China are made on the spot.
"""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time
import unicodedata
import unittest

import test_bearerctl as base
from test_bearerctl import TIMEOUT, TOKEN, Case, answer, error_answer, token_answer
from test_bearerctl_login import ADDRESS, CODE, ID, PAGE, Terminal

CHINESE = {"LC_ALL": "C.UTF-8", "LANGUAGE": "zh_CN"}
HAN = re.compile("[\u4e00-\u9fff]")
VERBS = ("get", "exec", "set", "login", "logout", "authorizations", "list", "status", "watch", "explain", "check", "reload",
         "rekey", "health", "help")


def width(text):
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def column(line, index):
    """Where the character `index` of the line stands on the screen."""
    return width(line[:index])


class Chinese(Case):
    def setUp(self):
        super().setUp()
        catalogue = pathlib.Path(base.BEARERCTL).parent / "po/zh_CN/LC_MESSAGES/bearerd.mo"
        if not catalogue.exists():
            self.skipTest("NOT TESTED: the catalogues are not built, since there is no msgfmt (gettext) on this machine")
        self.english = dict(self.env)
        self.env.update(CHINESE)

    def make_locale(self, codeset):
        """Its name, to be found in self.dir."""
        if not shutil.which("localedef") or not os.path.exists("/usr/share/i18n/locales/zh_CN"):
            self.skipTest("NOT TESTED: there are no sources of locales (locales) on this machine")
        subprocess.run(["localedef", "-i", "zh_CN", "-f", codeset, f"{self.dir}/zh_CN.{codeset}"], check=True, timeout=TIMEOUT,
                       capture_output=True)
        return f"zh_CN.{codeset}"

    def said(self, *args, code, **more):
        got, out, err = self.run_ctl(*args, **more)
        self.assertEqual((got, out), (code, ""), err)
        return err


class Locale(Chinese):
    """Each asks for what there is not: a verb."""

    def language(self, env, program=None):
        variables = {"PATH": self.env["PATH"], **{k: v for k, v in self.env.items() if k.endswith("SAN_OPTIONS")}, **env}
        done = subprocess.run([program or base.BEARERCTL, "nonsense"], capture_output=True, env=variables, timeout=TIMEOUT,
                              check=False)
        self.assertEqual((done.returncode, done.stdout), (2, b""), env)
        if done.stderr.isascii():
            self.assertIn(b"unknown verb", done.stderr)
            return "English"
        for codeset in "UTF-8", "GBK":
            try:
                self.assertIn("未知命令", done.stderr.decode(codeset))
                return "Chinese" if codeset == "UTF-8" else codeset
            except UnicodeDecodeError:
                pass
        self.fail(done.stderr)

    def test_variables(self):
        """As gettext(3) has it; a locale of UTF-8 need not be there."""
        for language, env in (
                ("English", {}), ("English", {"LC_ALL": "C"}), ("English", {"LC_ALL": "C.UTF-8"}),
                ("Chinese", {"LANG": "zh_CN.UTF-8"}), ("Chinese", {"LC_ALL": "zh_CN.utf8"}),
                ("Chinese", {"LC_MESSAGES": "zh_CN.UTF-8", "LANG": "en_US.UTF-8"}),
                ("English", {"LC_MESSAGES": "en_US.UTF-8", "LANG": "zh_CN.UTF-8"}),
                ("English", {"LC_ALL": "C", "LANG": "zh_CN.UTF-8"}),
                ("English", {"LC_ALL": "C.UTF-8", "LANG": "zh_CN.UTF-8"}),
                ("Chinese", {"LC_ALL": "", "LANG": "zh_CN.UTF-8"}),
                ("Chinese", {"LANG": "C.UTF-8", "LANGUAGE": "zh_CN"}),
                ("Chinese", {"LANG": "C.UTF-8", "LANGUAGE": "de:zh_CN:en"}),
                ("Chinese", {"LANG": "de_DE.UTF-8", "LANGUAGE": "zh_CN"}),
                ("English", {"LANG": "zh_CN.UTF-8", "LANGUAGE": "en"}),
                ("Chinese", {"LANG": "zh_CN.UTF-8", "LANGUAGE": ""}),
                ("English", {"LC_ALL": "C", "LANGUAGE": "zh_CN"}),
                ("English", {"LC_CTYPE": "C", "LC_MESSAGES": "zh_CN.UTF-8"}),  # no question marks
                ("English", {"LANG": "de_DE.UTF-8"}), ("English", {"LANG": "zh_CN.XYZ"}),
                ("English", {"LC_ALL": "../zh_CN.UTF-8"})):
            self.assertEqual(self.language(env), language, env)

    def test_locales_of_china(self):
        for codeset, language in (("UTF-8", "Chinese"), ("GBK", "GBK")):
            name = self.make_locale(codeset)
            env = {"LOCPATH": self.dir}
            self.assertEqual(self.language({**env, "LC_ALL": name}), language)
            self.assertEqual(self.language({**env, "LANG": name}), language)
            self.assertEqual(self.language({**env, "LC_ALL": name, "LANGUAGE": "en"}), "English")

    def test_other_languages(self):
        """English, all of it: also what libc knows to say in that language."""
        for env in {"LANG": "de_DE.UTF-8"}, {"LC_ALL": "C.UTF-8", "LANGUAGE": "de"}, {"LC_ALL": "C.UTF-8", "LANGUAGE": "zh_TW:fr"}:
            _, _, err = self.run_ctl("get", "bot", "--socket", f"{self.dir}/none", env={"LC_ALL": "", "LANGUAGE": "", **env})
            self.assertIn("none: No such file or directory\n", err, env)

    def copy(self):
        """A build tree of its own: the program, and where its catalogue is."""
        for prefix in "/usr", "/usr/local":
            if os.path.exists(f"{prefix}/share/locale/zh_CN/LC_MESSAGES/bearerd.mo"):
                self.skipTest(f"NOT TESTED: a catalogue is installed in {prefix}, and found")
        tree = pathlib.Path(self.dir) / "build"
        (tree / "client").mkdir(parents=True)
        program = tree / "client" / "bearerctl"
        shutil.copy(base.BEARERCTL, program)
        program.chmod(0o755)
        po = tree / "client" / "po"
        messages = po / "zh_CN" / "LC_MESSAGES"
        messages.mkdir(parents=True)
        shutil.copy(pathlib.Path(base.BEARERCTL).parent / "po/zh_CN/LC_MESSAGES/bearerd.mo", messages)
        po.chmod(0o755)
        return program, po

    def test_catalogue_of_others(self):
        """Its sentences are formats: it counts only if nobody could have changed it who could not change the program."""
        program, po = self.copy()
        self.assertEqual(self.language(CHINESE, program), "Chinese")
        po.chmod(0o757)
        self.assertEqual(self.language(CHINESE, program), "English")
        po.chmod(0o775)
        self.assertEqual(self.language(CHINESE, program), "English")
        program.chmod(0o775)
        self.assertEqual(self.language(CHINESE, program), "Chinese")
        po.rename(po.with_name("there"))
        po.symlink_to("there")
        self.assertEqual(self.language(CHINESE, program), "English")

    @unittest.skipUnless(os.geteuid() == 0, "NOT TESTED: needs root, to give files away")
    def test_catalogue_of_another_user(self):
        program, po = self.copy()
        os.chown(po, base.NOBODY, -1)
        self.assertEqual(self.language(CHINESE, program), "English")
        os.chown(po, 0, base.NOBODY)
        self.assertEqual(self.language(CHINESE, program), "English")

    def test_no_variable_names_a_catalogue(self):
        program, po = self.copy()
        (pathlib.Path(self.dir) / "po").mkdir()
        (po / "zh_CN").rename(pathlib.Path(self.dir) / "po" / "zh_CN")  # the way leads through a directory that is there
        way = "../" * 32 + self.dir.lstrip("/") + "/po/zh_CN"
        for language in way, f"en:{way}", f"{way}:zh_CN":
            self.assertEqual(self.language({"LC_ALL": "C.UTF-8", "LANGUAGE": language, "NLSPATH": f"{self.dir}/po/%L/%N",
                                            "TEXTDOMAINDIR": f"{self.dir}/po"}, program), "English", language)


class Silence(Chinese):
    """Who hands over a token pays nothing for languages."""

    def opened(self, env, *args):
        trace = pathlib.Path(self.dir) / "trace"
        subprocess.run(["strace", "-o", trace, "-e", "trace=%file", base.BEARERCTL, *args], env=env, check=True, timeout=TIMEOUT,
                       capture_output=True)
        return [line.split("(", 1)[1].split(")")[0] for line in trace.read_text().splitlines() if "(" in line]

    def test_files(self):
        if not shutil.which("strace"):
            self.skipTest("NOT TESTED: there is no strace on this machine")
        probe = subprocess.run(["strace", "-o", "/dev/null", "true"], capture_output=True, timeout=TIMEOUT, check=False)
        if probe.returncode != 0 or any(k.endswith("SAN_OPTIONS") for k in self.env):
            self.skipTest("NOT TESTED: strace may not trace here")
        self.daemon({"GET /v1/token/bot": token_answer(),
                     "GET /v1/credentials/bot": answer(body={"name": "bot", "api_url": "https://api.coze.cn"})})
        for args in ["get", "bot"], ["get", "bot", "--env"], ["exec", "bot", "--", "true"]:
            files = self.opened({**self.env, "LANG": "zh_CN.UTF-8"}, *args)
            ours = [f for f in files if f.partition('"')[2].startswith("/") and re.search("locale|gconv|/po/|exe", f)]
            if args[0] == "exec":  # of the command's own
                ours = [f for f in ours if "bearerd" in f]
            self.assertEqual(ours, [], args)
            self.assertTrue(any("libc.so" in f for f in files), files)

    def test_what_programs_read(self):
        now = int(time.time())
        state = {"name": "bot", "provider": "coze.cn", "type": "jwt", "state": "ready", "fingerprint": "9f86d081884c7d65",
                 "expires_at": now + 3600}
        authorizations = [{"id": ID, "credential": "tv", "subject": "", "state": "pending", "expires_at": now + 300}]
        access = {"pid": 1, "uid": 0, "gid": 0, "groups": [], "connect": {"allowed": True, "explanation": "it is connected"},
                  "use": {"allowed": True, "rule": "open", "explanation": "no key"}}
        routes = {"GET /v1/credentials/bot": answer(body={**state, "api_url": "https://api.coze.cn"}),
                  "GET /v1/credentials": answer(body={"credentials": [state]}),
                  "GET /v1/authorizations": answer(body={"authorizations": authorizations}),
                  "GET /v1/credentials/bot/access": answer(body=access)}
        daemon = self.daemon({**routes, "GET /v1/token/bot": token_answer()})
        for args in (["get", "bot"], ["get", "bot", "--header"], ["get", "bot", "--env"], ["list"], ["status", "--json"],
                     ["status", "bot", "--json"], ["authorizations", "--json"], ["explain", "bot", "--json"], ["--version"],
                     ["exec", "bot", "--", "printenv", "COZE_API_TOKEN", "COZE_API_BASE", "LANGUAGE", "LC_ALL"]):
            here = self.run_ctl(*args)
            self.assertEqual(here[0], 0, here)
            self.assertEqual(here, self.run_ctl(*args, env={"LC_ALL": "C.UTF-8"} if args[0] == "exec" else self.english | {
                "LC_ALL": "C", "LANGUAGE": ""}), args)
            self.assertNotRegex(here[1], HAN)
        daemon.routes["GET /v1/token/bot"] = answer(body={"access_token": TOKEN})
        self.assertEqual(json.loads(self.run_ctl("get", "bot", "--json")[1])["access_token"], TOKEN)

    def test_exit_codes(self):
        daemon = self.daemon({})
        for status, error, code in ((403, "access_denied", 4), (409, "authorization_required", 5), (404, "not_found", 1),
                                    (502, "upstream_error", 6), (400, "invalid_request", 1)):
            daemon.routes["GET /v1/token/bot"] = error_answer(status, error, "Do it.")
            self.assertEqual(self.run_ctl("get", "bot")[0], code)


class Help(Chinese):
    def lines(self, *args):
        code, out, err = self.run_ctl(*args)
        self.assertEqual((code, err), (0, ""))
        lines = out.splitlines()
        self.assertLessEqual(len(lines), 24, out)
        for line in lines:
            self.assertLessEqual(width(line), 80, line)
        return lines

    def test_fits(self):
        lines = self.lines("--help")
        self.assertTrue(lines[0].startswith("用法：bearerctl "))
        english = self.run_ctl("--help", env={"LANGUAGE": ""})[1]
        rows = {line.split()[0]: line for line in lines if line.startswith("  ")}
        self.assertEqual(set(rows), {line.split()[0] for line in english.splitlines() if line.startswith("  ")})
        self.assertLessEqual(set(VERBS), set(rows))
        for row in rows.values():
            self.assertRegex(row, HAN)

    def test_verbs(self):
        for verb in VERBS:
            lines = self.lines("help", verb)
            self.assertTrue(lines[0].startswith(f"用法：bearerctl {verb}"), lines)
            self.assertRegex(lines[1], "。$")
            options = [line for line in lines if line.startswith("  -")]
            self.assertGreater(len(options), 2)
            for line in options:
                self.assertRegex(line, HAN)


class Tables(Chinese):
    def setUp(self):
        super().setUp()
        now = int(time.time())
        self.credentials = [
            {"name": "bot", "provider": "coze.cn", "type": "jwt", "state": "ready", "fingerprint": "9f86d081884c7d65",
             "expires_at": now + 86399, "subjects": 12},
            {"name": "idle", "provider": "coze.cn", "type": "device_code", "state": "idle"},
            {"name": "old", "provider": "coze.cn", "type": "sat", "state": "expired", "fingerprint": "0123456789abcdef",
             "expires_at": now - 2 * 86400 - 30},
            {"name": "site", "provider": "coze.cn", "type": "authorization_code", "state": "authorization_required"},
            {"name": "forever", "provider": "coze.cn", "type": "sat", "state": "ready", "fingerprint": "0123456789abcdef"},
            {"name": "n" * 64, "provider": "p" * 64, "type": "jwt", "state": "failing",
             "last_error": {"status": 503, "message": "busy " * 20, "at": now - 7200}},
            {"name": "newer", "provider": "coze.cn", "type": "jwt", "state": "dreaming"}]

    def check_columns(self, lines):
        """All rows begin their cells where the titles are."""
        starts = [column(lines[0], m.start()) for m in re.finditer(r"(?:^|(?<=  ))\S", lines[0])]
        self.assertGreater(len(starts), 2)
        for line in lines:
            self.assertLessEqual(width(line), 80, line)
            cells = {column(line, m.start()) for m in re.finditer(r"(?:^|(?<=  ))\S", line)}
            self.assertLessEqual(set(starts), cells | {0}, line)

    def test_status(self):
        self.daemon({"GET /v1/credentials": answer(body={"credentials": self.credentials})})
        code, out, err = self.run_ctl("status")
        self.assertEqual((code, err), (0, ""))
        table, _, notes = out.partition("\n\n")
        lines = table.splitlines()
        self.assertEqual(len(lines), 1 + len(self.credentials))
        self.check_columns(lines)
        self.assertNotRegex(lines[0], "[A-Za-z]")
        for line, state in zip(lines[1:], ("就绪", "未获取", "已过期", "未授权", "就绪", "续期失败", "dreaming")):
            self.assertIn(state, line)
        self.assertRegex(lines[1], "23小时59分钟后$")
        self.assertRegex(lines[3], "2天前$")
        self.assertRegex(notes, "(?m)^site: .*bearerctl login site$")
        self.assertRegex(notes, "(?m)^old: .*bearerctl set old$")
        for line in notes.splitlines():
            self.assertLessEqual(width(line), 80)

    def test_encoding(self):
        """In GBK, too, each character is counted as wide as it is."""
        env = {"LOCPATH": self.dir, "LC_ALL": self.make_locale("GBK")}
        if "ASAN_OPTIONS" in self.env:  # libc frees not all of what it converts with
            env["ASAN_OPTIONS"] = self.env["ASAN_OPTIONS"] + ":detect_leaks=0"
        self.daemon({"GET /v1/credentials": answer(body={"credentials": self.credentials})})
        done = subprocess.run([base.BEARERCTL, "status"], env={**self.env, **env}, capture_output=True, timeout=TIMEOUT, check=True)
        table = done.stdout.decode("GBK").partition("\n\n")[0].splitlines()
        self.assertEqual(len(table), 1 + len(self.credentials))
        self.check_columns(table)

    def test_one(self):
        now = int(time.time())
        self.daemon({"GET /v1/credentials/bot": answer(body={**self.credentials[0], "api_url": "https://api.coze.cn",
                                                             "renews_at": now + 3610, "grant_expires_at": now + 86410,
                                                             "survives_seconds": 7200, "last_error": "the disk was full"})})
        code, out, err = self.run_ctl("status", "bot")
        self.assertEqual((code, err), (0, ""))
        lines = out.splitlines()
        self.assertGreater(len(lines), 8)
        for line in lines:
            label = line.split()[0]
            self.assertEqual(column(line, len(label) + len(line[len(label):]) - len(line[len(label):].lstrip())), 10, line)
            self.assertTrue(HAN.search(label) or label in ("API", "token"), line)
        self.assertIn("the disk was full", out)

    def test_authorizations(self):
        now = int(time.time())
        rows = [{"id": ID, "credential": "tv", "subject": "张三", "state": "pending", "expires_at": now + 299},
                {"id": ID, "credential": "tv", "subject": "alice", "state": "denied", "expires_at": now}]
        self.daemon({"GET /v1/authorizations": answer(body={"authorizations": rows})})
        _, out, _ = self.run_ctl("authorizations")
        lines = out.splitlines()
        self.check_columns(lines)
        self.assertIn("等待中", lines[1])
        self.assertIn("4分钟", lines[1])
        self.assertIn("已拒绝", lines[2])

    def test_subjects(self):
        rows = [{"subject": "张三", "state": "ready", "grant_expires_at": int(time.time()) + 86399},
                {"subject": "alice", "state": "authorization_required"}]
        self.daemon({"GET /v1/credentials/site/subjects?limit=100": answer(body={"subjects": rows})})
        _, out, _ = self.run_ctl("status", "site", "--subjects")
        self.check_columns(out.splitlines())


class Sentences(Chinese):
    def test_usage(self):
        for args, sentence in ((["stats"], "未知命令“stats”：是不是 status？"), ([], "缺少命令"), (["get"], "缺少参数：bearerctl get NAME"),
                               (["get", "a", "--wait", "5"], "不是时间长度"), (["get", "--wait", "3min", "a"], "最长 2min"),
                               (["get", "a", "b"], "多余的参数“b”"), (["get", "a", "--headr"], "是不是 --header？")):
            self.assertIn(sentence, self.said(*args, code=2))

    def test_no_daemon(self):
        err = self.said("get", "bot", code=3)
        self.assertIn(f"{self.socket} 上没有守护进程", err)
        self.assertIn("systemctl start bearerd", err)

    def test_errors(self):
        """First what it comes to and what to do, in Chinese; then what the daemon said, as it stands in logs."""
        daemon = self.daemon({})
        for status, error, description, lead in (
                (409, "authorization_required", 'nobody has authorized credential "bot": bearerctl login bot',
                 "bot: 需要用户授权，请运行：bearerctl login bot\n"),
                (409, "authorization_required", 'the token of "bot" has expired: set it with bearerctl set bot',
                 "bot: 需要在扣子控制台创建新的 token，然后运行：bearerctl set bot\n"),
                (403, "access_denied", "user 5 may not use it", "bearerctl explain bot\n"),
                (403, "access_denied", "user 5 is not an administrator", "admin_groups\n"),
                (404, "not_found", 'no credential is called "bot"', "bearerctl list"),
                (400, "invalid_request", "wait is too long", "请求有误"), (400, "invalid_scope", "no", "scope"),
                (429, "slow_down", "too many", "太多"), (500, "server_error", "out of memory", "journalctl"),
                (502, "upstream_error", "refused", "coze.com"), (503, "temporarily_unavailable", "down", "稍后"),
                (504, "upstream_timeout", "late", "--wait")):
            daemon.routes["GET /v1/token/bot"] = error_answer(status, error, description)
            err = self.run_ctl("get", "bot")[2]
            self.assertTrue(err.startswith("bearerctl: bot: "), err)
            self.assertIn(lead, err)
            self.assertRegex(err.splitlines()[0], HAN)
            self.assertEqual(err.splitlines()[1], f"bearerctl: 守护进程的原话：{description}")
            self.assertEqual(len(err.splitlines()), 2)
        daemon.routes["GET /v1/token/bot"] = error_answer(418, "teapot", "short and stout")
        self.assertEqual(self.run_ctl("get", "bot")[2], "bearerctl: bot: short and stout\n")

    def test_error_with_subject(self):
        self.daemon({"GET /v1/token/bot?subject=a%20b": error_answer(409, "authorization_required", "bearerctl login bot")})
        self.assertIn("bearerctl login bot --subject 'a b'\n", self.said("get", "bot", "--subject", "a b", code=5))

    REGION = "check the region first (coze.cn and coze.com share nothing), then authorize again (bearerctl login)"

    def test_advice(self):
        """What the daemon advises about a refusal, whatever stands before it."""
        daemon = self.daemon({})
        for description, lead in (
                (f'coze.cn refused a token for credential "bot": HTTP 401 x: bad. {self.REGION}', "请先检查站点"),
                ("the balance of the Coze account is used up", "余额已用完"),
                (f"coze.cn refused a token. this machine's clock is 3min behind the provider's: correct it; else {self.REGION}",
                 "这台机器的时钟不准"),
                ("xthe balance of the Coze account is used up", "可以用 bearerctl check"),
                ("the balance of the Coze account is used up!", "可以用 bearerctl check")):
            daemon.routes["GET /v1/token/bot"] = error_answer(502, "upstream_error", description)
            lines = self.said("get", "bot", code=6).splitlines()
            self.assertTrue(lines[0].startswith("bearerctl: bot: "), lines)
            self.assertIn(lead, lines[0])
            self.assertEqual(lines[1:], [f"bearerctl: 守护进程的原话：{description}"])

    def test_state(self):
        now = int(time.time())
        self.daemon({"GET /v1/credentials": answer(body={"credentials": [
            {"name": "bot", "provider": "coze.cn", "type": "jwt", "state": "failing",
             "last_error": {"status": 401, "error": "x", "at": now - 90, "advice": self.REGION}},
            {"name": "me", "provider": "coze.cn", "type": "pat", "state": "ready", "fingerprint": "0123456789abcdef",
             "expires_at": now + 3 * 86400 + 30, "warning": 'the token of "me" expires in 3d'}]})})
        notes = self.run_ctl("status")[1].partition("\n\n")[2].replace("\n    ", "")
        self.assertRegex(notes, "(?m)^bot: HTTP 401 x（1分钟3[0-9]秒前）。请先检查站点")
        self.assertRegex(notes, "(?m)^me: 3天后到期：.*bearerctl set me$")
        self.assertTrue(HAN.search(notes) and "expires" not in notes, notes)

    def test_what_the_provider_said(self):
        self.daemon({"GET /v1/token/bot": error_answer(503, "temporarily_unavailable", "It fails.", {
            "status": 503, "message": "busy\x1b[2J", "logid": "L1"}, ["Retry-After: 3700"])})
        err = self.said("get", "bot", code=6)
        self.assertIn("扣子的原话：HTTP 503: busy [2J; logid L1\n", err)
        self.assertIn("请在 1小时1分钟后重试\n", err)

    def test_mistakes(self):
        """What the daemon says of a configuration: the place stays, the sentence is translated, the unknown is not."""
        place = "/etc/bearerd/bearerd.conf:5: [credential bot] type: "
        mistakes = (
            (place + "must be one of pat, sat, jwt", place + "必须是其中之一：pat, sat, jwt"),
            (place + 'must be one of pat, sat, jwt; did you mean "jwt"?', place + "必须是其中之一：pat, sat, jwt；是不是“jwt”？"),
            (place + 'no such key in a [daemon] section; did you mean "a" or "b"?',
             place + "[daemon] 里没有这个配置项；是不是“a”或“b”？"),
            (place + "must be whole seconds; a comment behind a value starts with ';', not '#'",
             place + "必须是整秒；写在值后面的注释要以 ';' 开头，不是 '#'"),
            (place + "the default, 5, must lie between 1s and 1h", place + "默认值 5：必须在 1s 和 1h 之间"),
            (place + "/x/k holds a secret but others can read it (mode 0644): chmod 600 /x/k",
             place + "/x/k 存有密钥，但其他用户可以读取（权限 0644）：chmod 600 /x/k"),
            ("must be yes or no", "必须是 yes 或 no"),
            (place + "is longer than %n%s bytes", place + "超过 %n%s 字节"),
            (place + "must lie between {2} and {1}", place + "必须在 {2} 和 {1} 之间"),
            *((text, text) for text in (place + "must be whole seconds!", place + "xmust be yes or no", place, ": ", ";", "",
                                        'x; did you mean "y"?', place + 'never heard of; did you mean "y"?', "{1}", "y" * 900)))
        daemon = self.daemon({})
        daemon.routes["POST /v1/reload"] = answer(400, {"error": "invalid_request", "error_description": "no",
                                                        "problems": [english for english, _ in mistakes]})
        lines = self.said("reload", code=1).splitlines()
        self.assertEqual(lines[:-1], [f"bearerctl: {chinese}" for _, chinese in mistakes])
        english = self.run_ctl("reload", env={"LANGUAGE": ""})[2].splitlines()
        self.assertEqual(english[:-1], [f"bearerctl: {text}" for text, _ in mistakes])
        daemon.routes["POST /v1/reload"] = answer(body={"warnings": [place + "is empty"]})
        self.assertIn(f"bearerctl: 警告：{place}是空的\n", self.run_ctl("reload")[2])

    def test_explain(self):
        access = {"pid": 4242, "uid": 4294967294, "gid": 7, "groups": [4, 24], "unit": "app.service",
                  "connect": {"allowed": True, "explanation": "it is connected"},
                  "use": {"allowed": False, "rule": "none", "explanation": "nothing in allow_users matches it"},
                  "admin": {"allowed": True, "rule": "newer", "explanation": "so be it"}}
        self.daemon({"GET /v1/credentials/bot/access": answer(body=access)})
        code, out, err = self.run_ctl("explain", "bot")
        self.assertEqual((code, err), (4, ""))
        self.assertEqual(out, "进程      4242：用户 4294967294，组 7，附加组 4 24，unit app.service\n"
                              "连接      允许: 能连到这个 socket（it is connected）\n"
                              "使用      不允许: 没有匹配的规则（nothing in allow_users matches it）\n"
                              "管理      允许: so be it\n")


class Login(Chinese):
    """The sentences; how it goes is test_bearerctl_login.py's."""

    def answer(self, end=None, **members):
        expires_at = int(time.time()) + 599
        pending = {"id": ID, "credential": "tv", "subject": "", "state": "pending", "expires_at": expires_at, **members}
        self.daemon({"POST /v1/credentials/tv/authorizations": answer(201, pending),
                     f"GET /v1/authorizations/{ID}?wait=60": answer(body={**pending, "state": "denied", **(end or {})})})

    def login(self, end=None, **members):
        self.answer(end, **members)
        return self.run_ctl("login", "tv", "--no-browser")

    def test_narrow_terminal(self):
        """The countdown is cut between characters, by the columns that they take."""
        self.answer(user_code=CODE, verification_uri=PAGE)
        for columns in 30, 25, 24, 9:
            terminal = Terminal(self, "login", "tv", size=(24, columns), env=CHINESE)
            self.assertEqual(terminal.finish(), 5)
            shown = re.findall("\r([^\r\x1b\n]+)\x1b\\[K", terminal.shown.decode())  # all of it is UTF-8
            self.assertTrue(shown)
            for text in shown:
                self.assertTrue("等待中，还剩 9分钟5" in text or "等待中，还剩 9分钟5".startswith(text), text)
                self.assertIn(width(text), (columns - 1, columns - 2))

    def test_code(self):
        code, out, err = self.login(user_code=CODE, verification_uri=PAGE)
        self.assertEqual(code, 5)
        self.assertRegex(out, f"^为 tv 授权：请在 9分钟5[0-9]秒内打开 {PAGE} 并输入设备码 {CODE}\n$")
        self.assertEqual(err, "bearerctl: tv: 用户拒绝了授权\nbearerctl: 重新发起授权：bearerctl login tv\n")

    def test_reason(self):
        reason = 'coze.cn did not accept the authorization for "tv": no. the balance of the Coze account is used up'
        code, _, err = self.login({"state": "failed", "reason": reason}, user_code=CODE, verification_uri=PAGE)
        self.assertEqual((code, err), (6, "bearerctl: tv: 扣子没有接受这次授权\nbearerctl: 扣子账号的余额已用完\n"
                                          f"bearerctl: 守护进程的原话：{reason}\n"
                                          "bearerctl: 重新发起授权：bearerctl login tv\n"))

    def test_warning(self):
        _, out, _ = self.login(authorization_url=ADDRESS, redirect_uri="http://127.0.0.1:1/", warning="the port is in use")
        self.assertIn("bearerd 无法自己等浏览器返回：the port is in use\n", out)

    def test_address(self):
        code, out, _ = self.login(authorization_url=ADDRESS, redirect_uri="http://127.0.0.1:1/")
        self.assertEqual(code, 5)
        self.assertIn(f"请在浏览器中打开以下网址，为 tv 授权：\n{ADDRESS}\n", out)
        self.assertIn("http://127.0.0.1:1/", out)
        self.assertNotRegex(out.replace(ADDRESS, "").replace("bearerctl(1)", "").replace("bearerd", ""), "[a-z]{3,} [a-z]{2,}")


if __name__ == "__main__":
    base.BEARERCTL = os.path.abspath(sys.argv.pop(1))
    unittest.main(verbosity=2)
