package keys

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestKeysAreShownByTheirForm(t *testing.T) {
	for _, tt := range []struct {
		name string
		keys []string
		want []string // each once, sorted
	}{
		{"words stay, numbers go", []string{"user:42:cart", "user:43:cart"}, []string{"user:*:cart"}},
		{"uuids", []string{"session:0b1f8a52-3c1e-4f9e-8a52-0b1f8a523c1e"}, []string{"session:*"}},
		{"hashes, also of letters alone", []string{"etag/deadbeef", "etag/0123abcd"}, []string{"etag/*"}},
		{"words of programs", []string{"rateLimit:api_v2.user-list:GET"}, []string{"rateLimit:api_v2.user-list:GET"}},
		{"an address is no word", []string{"login:alice@example.org"}, []string{"login:*"}},
		{"letters of other alphabets", []string{"name:Zoë", "name:\xff\xfe"}, []string{"name:*"}},
		{"a token", []string{"t:eyJhbGciOiJIUzI1NiJ9.eyJzdWIi.c2lnbg"}, []string{"t:*"}},
		{"names beside numbers at the end", []string{"user:42", "user:alice"}, []string{"user:*"}},
		{"many words in one place", strings.Split("u:ann:x u:bob:x u:cid:x u:dan:x u:eve:x u:fay:x u:gus:x u:hal:x u:ida:x", " "), []string{"u:*:x"}},
		{"a few words in one place", []string{"app:session:1", "app:cart:1", "app:top"}, []string{"app:cart:*", "app:session:*", "app:top"}},
		{"numbers joined to words", []string{"user_42", "user-42-cart", "user.42"}, []string{"user-*-cart", "user.*", "user_*"}},
		{"the version of a format", []string{"v1:user:1", "v2:user:1"}, []string{"v1:user:*", "v2:user:*"}},
		{"hash tags", []string{"{user:42}:cart"}, []string{"{user:*}:cart"}},
		{"an empty key, and separators alone", []string{"", ":::"}, []string{"", ":::"}},
		{"a very long word", []string{"a:" + strings.Repeat("x", 100)}, []string{"a:*"}},
		{"a very long key", []string{"a:" + strings.Repeat("x_", 1000)}, []string{"a:*"}},
		{"very many words", []string{strings.Repeat("a:", 100_000)}, []string{strings.Repeat("a:", 8) + "*"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			for _, form := range families(tt.keys) {
				got = append(got, form)
			}
			slices.Sort(got)
			assert.Equal(t, tt.want, slices.Compact(got))
		})
	}
}

// Nothing is shown but words, separators and the versions of formats, and a form is its own form.
func FuzzFormsShowNoData(f *testing.F) {
	for _, seed := range []string{"user:42", "alice@example.org", "a_b-c.d/e", "v1:x", "\xff", "x:0b1f8a52-3c1e-4f9e-8a52-0b1f8a523c1e", "{a}:*", strings.Repeat("a:", 9), strings.Repeat("x", 600), strings.Repeat(":", 600), "a\x00b\n"} {
		f.Add(seed)
	}
	allowed := regexp.MustCompile(`^(?:[A-Za-z]{1,24}|[vV][0-9]{1,3}|\*|[_.:/|,;#\[\]{}()<> -])*$`)
	f.Fuzz(func(t *testing.T, key string) {
		form := families([]string{key})[key]
		assert.Regexp(t, allowed, form, "of %q", key)
		assert.Equal(t, form, families([]string{form})[form], "of %q", key)
	})
}

func TestFormsOfManyKeysAreQuick(t *testing.T) {
	var names []string
	for i := range maxKeys {
		names = append(names, fmt.Sprintf("app:user:%d:cart", i))
	}
	assert.Equal(t, "app:user:*:cart", families(names)[names[77]])
}
