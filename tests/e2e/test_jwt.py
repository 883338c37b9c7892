"""Type jwt: what goes to the provider, and which wishes share a token."""

from urllib.parse import quote

from harness import EndToEnd, main

BOT_CHAT = {"account_permission": {"permission_list": ["Connector.botChat"]}}
ONE_BOT = {**BOT_CHAT, "attribute_constraint": {"connector_bot_chat_attribute": {"bot_id_list": ["7001"]}}}
TOKEN = "/api/permission/oauth2/token"
GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"


class Jwt(EndToEnd):
    def sections(self):
        developer = f"provider = coze-test\nconfig_file = {self.emulator.console_file('developer')}\n"
        channel = (f"provider = coze-test\nconfig_file = {self.emulator.console_file('channel')}\n"
                   "application = channel\n")
        return (f"[credential account]\n{developer}account_id = 7300000000000000001\n\n"
                f"[credential long]\n{developer}token_lifetime = 1h\n\n"
                f"[credential session]\n{developer}session_name = front desk\n"
                'session_context = {"device_info": {"device_id": "1234567890"}}\n\n'
                f"[credential alone]\n{developer}subjects = no\n\n"
                f"[credential bots]\n{channel}permissions = Connector.botChat\nbot_ids = 7001 7002\n\n"
                f"[credential old]\n{channel}fallback = developer\n")


class Wire(Jwt):
    """As the emulator saw it."""

    def last(self, credential, body=None):
        if body is None:
            self.daemon.token(credential)
        else:
            self.assertStatus(self.daemon.post(f"/v1/token/{credential}", body), 200)
        return self.emulator.last()

    def test_developer(self):
        last = self.last("developer")
        console = self.emulator.console("developer")
        claims = last["claims"]
        self.assertEqual(last["path"], TOKEN)
        self.assertEqual(last["header"], {"alg": "RS256", "typ": "JWT", "kid": console["public_key_id"]})
        self.assertEqual({*claims}, {"iss", "aud", "iat", "exp", "jti"})
        self.assertEqual(claims["iss"], console["client_id"])
        self.assertEqual(claims["aud"], f"localhost:{self.emulator.port}")
        self.assertGreater(claims["exp"], claims["iat"])
        self.assertGreaterEqual(len(claims["jti"]), 32)
        self.assertEqual(last["body"]["grant_type"], GRANT)
        self.assertEqual(last["body"].get("duration_seconds", 900), 900)
        self.assertLessEqual({*last["body"]}, {"grant_type", "duration_seconds"})

    def test_channel(self):
        last = self.last("channel")
        self.assertEqual(last["path"], TOKEN)
        self.assertEqual(last["body"]["scope"], BOT_CHAT)

    def test_channel_of_some_bots(self):
        scope = self.last("bots")["body"]["scope"]
        self.assertEqual(scope["account_permission"], BOT_CHAT["account_permission"])
        self.assertEqual(sorted(scope["attribute_constraint"]["connector_bot_chat_attribute"]["bot_id_list"]),
                         ["7001", "7002"])

    def test_enterprise(self):
        self.assertRegex(self.last("enterprise")["path"], r"^/api/permission/oauth2/enterprise_id/volcano_\d+/token$")

    def test_account(self):
        self.assertEqual(self.last("account")["path"], "/api/permission/oauth2/account/7300000000000000001/token")

    def test_lifetime(self):
        self.assertEqual(self.last("long")["body"]["duration_seconds"], 3600)
        self.assertTrue(3580 < self.daemon.token("long").json["expires_in"] <= 3600)

    def test_configured_session(self):
        claims = self.last("session")["claims"]
        self.assertEqual(claims["session_name"], "front desk")
        self.assertEqual(claims["session_context"], {"device_info": {"device_id": "1234567890"}})

    def test_subject(self):
        for subject in ("alice", "用户 七", "a/b?c&d=e#f%20+g", "\U0001f600", "é" * 128, "x" * 256):
            with self.subTest(subject=subject):
                answer = self.daemon.token("session", f"?subject={quote(subject, safe='')}")
                self.assertEqual(answer.json["subject"], subject)
                self.assertEqual(self.emulator.last()["claims"]["session_name"], subject)

    def test_plus_is_a_space_in_a_query(self):
        """As forms and most libraries write it, Python's urlencode() among them."""
        answer = self.daemon.token("developer", "?subject=front+desk")
        self.assertEqual(answer.json["subject"], "front desk")
        self.assertEqual(self.emulator.last()["claims"]["session_name"], "front desk")

    def test_session_context(self):
        context = {"device_info": {"custom_consumer": "tenant-7"}, "connector_info": {"connector_id": "2001"}}
        last = self.last("developer", {"session_context": context, "subject": "bob"})
        self.assertEqual(last["claims"]["session_context"], context)
        self.assertEqual(last["claims"]["session_name"], "bob")

    def test_session_context_of_all_values(self):
        """Passed on as it came: numbers, nesting, text of any script."""
        context = {"n": [0, -1, 1.5, 9007199254740993], "t": "引号\" \\ \n", "deep": {"a": {"b": [True, False]}}}
        last = self.last("developer", {"session_context": context})
        self.assertEqual(last["claims"]["session_context"], context)

    def test_duration(self):
        self.assertEqual(self.last("developer", {"duration_seconds": 300})["body"]["duration_seconds"], 300)
        self.assertEqual(self.last("developer", {"duration_seconds": 86399})["body"]["duration_seconds"], 86399)

    def test_scope(self):
        """Without a configured scope, any is passed on."""
        scope = {**ONE_BOT, "workspace_permission": {"workspace_id_list": ["7361"], "permission_list": ["run"]}}
        self.assertEqual(self.last("developer", {"scope": scope})["body"]["scope"], scope)

    def test_every_jwt_is_new(self):
        jtis = set()
        for n in range(5):
            self.daemon.token("developer", f"?subject=s{n}")
            jtis.add(self.emulator.last()["claims"]["jti"])
        self.assertEqual(len(jtis), 5)

    def test_fallback(self):
        """The old application is switched off: its successor serves the same name."""
        self.emulator.deactivate("channel")
        answer = self.daemon.token("old")
        self.assertTrue(self.emulator.accepts(answer.token))
        self.assertEqual(self.emulator.last()["claims"]["iss"], self.emulator.console("developer")["client_id"])
        self.assertStatus(self.daemon.get("/v1/token/channel"), 502, "upstream_error")


class Key(Jwt):
    """The cache key: credential, subject, duration, scope, session_context."""

    def post(self, body, credential="developer"):
        return self.assertStatus(self.daemon.post(f"/v1/token/{credential}", body), 200).token

    def test_different(self):
        wishes = [{}, {"subject": "a"}, {"subject": "b"}, {"duration_seconds": 300}, {"duration_seconds": 301},
                  {"scope": BOT_CHAT}, {"scope": ONE_BOT}, {"session_context": {"a": 1}},
                  {"session_context": {"a": "1"}}, {"session_context": {"a": 1}, "subject": "a"},
                  {"session_context": {}}, {"scope": BOT_CHAT, "duration_seconds": 300}]
        tokens = [self.post(wish) for wish in wishes]
        # an empty session_context may as well be none
        self.assertGreaterEqual(len(set(tokens)), len(wishes) - 1)
        self.assertEqual([self.post(wish) for wish in wishes], tokens, "and each is cached")
        self.assertEqual(self.emulator.requests(), len(set(tokens)))

    def test_same_in_another_order(self):
        same = ['{"session_context": {"a": 1, "b": {"c": 2, "d": [1, 2]}}, "subject": "x"}',
                '{ "subject":"x",\n"session_context":{"b":{"d":[1,2],"c":2},"a":1} }',
                '{"subject": "\\u0078", "session_context": {"\\u0062": {"d": [1, 2], "c": 2}, "a": 1}}']
        header = {"Content-Type": "application/json"}
        tokens = {self.assertStatus(self.daemon.post("/v1/token/developer", body, header), 200).token
                  for body in same}
        self.assertEqual(len(tokens), 1)
        scopes = [ONE_BOT, dict(reversed(ONE_BOT.items()))]
        self.assertEqual(len({self.post({"scope": scope}) for scope in scopes}), 1)
        self.assertEqual(self.emulator.requests(), 2)

    def test_get_and_post_share(self):
        self.assertEqual(self.post({}), self.daemon.token("developer").token)
        self.assertEqual(self.post({"subject": "y"}), self.daemon.token("developer", "?subject=y").token)
        self.assertEqual(self.post({"subject": ""}), self.daemon.token("developer", "?subject=").token)
        self.assertEqual(self.emulator.requests(), 2)

    def test_said_twice_is_the_same(self):
        """What the configuration says anyway makes no difference."""
        self.assertEqual(self.post({"duration_seconds": 900}), self.post({}))
        self.assertEqual(self.post({"scope": BOT_CHAT}, "channel"), self.post({}, "channel"))
        self.assertEqual(self.emulator.requests(), 2)

    def test_rejected_in_a_body(self):
        first = self.assertStatus(self.daemon.post("/v1/token/developer", {"duration_seconds": 300}), 200).json
        second = self.post({"duration_seconds": 300, "rejected": first["fingerprint"], "wait": 30, "min_ttl": 100})
        self.assertNotEqual(second, first["access_token"])
        self.assertEqual(self.post({"duration_seconds": 300}), second)

    def test_credentials_are_apart(self):
        """Two credentials of one application: two tokens."""
        self.assertNotEqual(self.daemon.token("developer").token, self.daemon.token("alone").token)


class Refused(Jwt):
    """What a caller may not wish for. Nothing of it goes upstream."""

    def tearDown(self):
        self.assertEqual(self.emulator.requests(), 0)
        super().tearDown()

    def check(self, rows, credential, error):
        for row in rows:
            with self.subTest(credential=credential, row=row):
                self.assertStatus(self.daemon.post(f"/v1/token/{credential}", row), 400, error)

    def test_scope_too_wide(self):
        other = {"account_permission": {"permission_list": ["Connector.botUpdateProfile"]}}
        more = {"account_permission": {"permission_list": ["Connector.botChat", "Connector.botUpdateProfile"]}}
        workspace = {**BOT_CHAT, "workspace_permission": {"workspace_id_list": ["1"], "permission_list": ["run"]}}
        bot = {**BOT_CHAT, "attribute_constraint": {"connector_bot_chat_attribute": {"bot_id_list": ["7003"]}}}
        self.check([{"scope": scope} for scope in (other, more, workspace)], "channel", "invalid_scope")
        self.check([{"scope": scope} for scope in (other, more, workspace, bot, BOT_CHAT)], "bots", "invalid_scope")

    def test_scope_of_a_wrong_shape(self):
        shapes = [None, "Connector.botChat", ["Connector.botChat"], 1, True, {}, {"account_permission": None},
                  {"account_permission": []}, {"account_permission": {}}, {"permission_list": ["run"]},
                  {"account_permission": {"permission_list": "run"}}, {"account_permission": {"permission_list": []}},
                  {"account_permission": {"permission_list": [1]}}, {**BOT_CHAT, "extra": {}},
                  {"account_permission": {"permission_list": ["run"], "extra": 1}}]
        for shape in shapes:
            for credential in ("developer", "channel"):
                with self.subTest(shape=shape, credential=credential):
                    self.assertStatus(self.daemon.post(f"/v1/token/{credential}", {"scope": shape}), 400)

    def test_duration(self):
        durations = (0, -1, 86400, 10**18, 10**30, 1.5, "300", True, None, [300])
        self.check([{"duration_seconds": d} for d in durations], "developer", "invalid_request")

    def test_session_context(self):
        contexts = ("x", 1, None, True, [], [{"a": 1}])
        self.check([{"session_context": c} for c in contexts], "developer", "invalid_request")

    def test_subject_where_none_is_allowed(self):
        self.check([{"subject": "x"}], "alone", "invalid_request")
        self.check([{"subject": "x"}], "pat", "invalid_request")
        self.assertStatus(self.daemon.get("/v1/token/alone?subject=x"), 400, "invalid_request")

    def test_of_another_type(self):
        rows = [{"duration_seconds": 300}, {"scope": BOT_CHAT}, {"session_context": {"a": 1}}]
        self.check(rows, "pat", "invalid_request")

    def test_min_ttl_longer_than_the_duration(self):
        self.check([{"duration_seconds": 100, "min_ttl": 101}], "developer", "invalid_request")


if __name__ == "__main__":
    main()
