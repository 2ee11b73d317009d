package config_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/internal/config"
)

func TestIsReference(t *testing.T) {
	for value, want := range map[string]bool{
		"env://SLACK_BOT_TOKEN": true, "file://secrets/token": true, "cmd://pass show token": true, "op://vault/item/field": true,
		"vault://secret/data/app.token": true, "libsecret://login/x": true, "gcp://projects/p/secrets/s": true,
		"aws+sm://name": true, "aws+ps:///name": true,
		"": false, "token": false, "env://": false, "env://A-B": false, "env:/NAME": false, "ENV://NAME": false,
		"https://example.com": false, "redis://localhost": false, " env://NAME": false, "op:// x": false,
	} {
		assert.Equal(t, want, config.IsReference(value), "%q", value)
	}
}

func TestSecretsAreRefusedAndNeverShown(t *testing.T) {
	const canary = "canary7f3e9"
	const hint = "write where the secret is, not the secret: env://NAME, file://PATH, op://, vault:// or cmd://"
	for _, c := range []struct {
		name string
		text string
		want string
	}{
		{"a token in place of its reference", "notify: {slack: {channel: C1, token: " + canary + "}}\n",
			`pipeline.yaml:5:38: notify.slack.token: is not a reference to a secret; ` + hint},
		{"a token that says it is one", "notify: {slack: {channel: C1, token: xoxb-" + canary + "}}\n",
			`pipeline.yaml:5:38: notify.slack.token: holds a credential; revoke it if this file was ever pushed, and write a reference such as env://NAME where references are allowed`},
		{"a token as a mapping", "notify: {slack: {channel: C1, token: {value: " + canary + "}}}\n",
			`pipeline.yaml:5:38: notify.slack.token: must be a text, but is a mapping; write it on one line`},
		{"a token that looks like an anchor", "notify: {slack: {channel: C1, token: *" + canary + "}}\n",
			`pipeline.yaml:5:38: not valid YAML: unknown anchor; define it before its first use with &, or put the text in quotes`},
		{"a token that looks like a tag", "notify: {slack: {channel: C1, token: !" + canary + " x}}\n",
			`pipeline.yaml:5:38: notify.slack.token: must be a text, but is a value with a YAML tag; put it in quotes`},
		{"a token behind a reference", "notify: {slack: {channel: C1, token: env://T " + canary + "}}\n",
			`pipeline.yaml:5:38: notify.slack.token: is not a reference to a secret; ` + hint},
		{"a credential as a header", "rehearsal: {requests: [{path: /, headers: {Authorization: Bearer ghp_" + canary + canary + "}}]}\n",
			`pipeline.yaml:5:59: rehearsal.requests[0].headers.Authorization: holds a credential; revoke it if this file was ever pushed, and write a reference such as env://NAME where references are allowed`},
		{"a credential in a JSON body", "rehearsal: {requests: [{path: /, method: POST, json: {key: sk_live_" + canary + "}}]}\n",
			`pipeline.yaml:5:60: rehearsal.requests[0].json.key: holds a credential; revoke it if this file was ever pushed, and write a reference such as env://NAME where references are allowed`},
		{"a credential as a key", "checks: {xoxb-" + canary + ": true}\n",
			`pipeline.yaml:5:10: checks: holds a credential; revoke it if this file was ever pushed, and write a reference such as env://NAME where references are allowed`},
		{"a credential as a duration", "rehearsal: {phase: glpat-" + canary + "}\n",
			`pipeline.yaml:5:20: rehearsal.phase: holds a credential; revoke it if this file was ever pushed, and write a reference such as env://NAME where references are allowed`},
		{"a variable that is a secret by its name", "environments: {production: {env: {SMTP_PASSWORD: " + canary + "}}}\n",
			`pipeline.yaml:5:50: environments.production.env.SMTP_PASSWORD: is a secret by its name, but its value is written here; write a reference such as env://SMTP_PASSWORD`},
		{"a URL with a password", "environments: {production: {env: {DATABASE_URL: \"postgres://app:" + canary + "@db/app\"}}}\n",
			`pipeline.yaml:5:49: environments.production.env.DATABASE_URL: holds a URL with a password; write a reference such as env://DATABASE_URL`},
		{"an address with a password", "environments: {production: {url: \"https://app:" + canary + "@example.com\"}}\n",
			`pipeline.yaml:5:34: environments.production.url: holds a password; write the address alone`},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := config.Parse("pipeline.yaml", []byte(base+c.text))
			require.EqualError(t, err, c.want)
			assert.NotContains(t, err.Error(), canary)
		})
	}
	t.Run("a reference where only environments may have one", func(t *testing.T) {
		text := strings.Replace(base, "serve:", "env: {API_URL: env://X, API_KEY: secret1}, serve:", 1)
		_, err := config.Parse("pipeline.yaml", []byte(text))
		assert.EqualError(t, err, `pipeline.yaml:4:24: components.web.env.API_URL: is a reference to a secret, which only an environment can hold; move it to environments.NAME.env
pipeline.yaml:4:42: components.web.env.API_KEY: is a secret by its name, but its value is written here; move it to environments.NAME.env and write a reference such as env://API_KEY`)
	})
	t.Run("values that are no secrets", func(t *testing.T) {
		_, err := config.Parse("pipeline.yaml", []byte(base+`environments:
  production:
    env: {TOKEN_TTL: 3600s, MAX_TOKENS: "10", USE_TOKEN: true, RETRY_TOKEN: 5, VITE_MAP_TOKEN: pk.public,
      PASSWORD_HINT: ask, API_KEY: "", CACHE_URL: "redis://cache:6379/0", PUBLIC_KEY_URL: "https://example.com/key"}
`))
		assert.NoError(t, err)
	})
}
