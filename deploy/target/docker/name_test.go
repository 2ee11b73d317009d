package docker

import (
	"regexp"
	"testing"
	"testing/quick"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestNamesStayReadableWhereTheyCan(t *testing.T) {
	target := &Target{options: Options{Application: "shop", Environment: "production"}}
	assert.Equal(t, "pipeline.shop.production.blue.web-api", target.containerName("blue", "web-api"))
	assert.Equal(t, "pipeline.local/shop/production/web-api", target.repository("web-api"))
	assert.Equal(t, "v1.4.0", tag("v1.4.0"))
	assert.Regexp(t, "^apps-api-[0-9a-f]{8}$", part("apps/api"))
	assert.Regexp(t, "^v1-dirty-[0-9a-f]{8}$", tag("v1+dirty"))
}

// Whatever texts are given, the names are valid, and different texts have different names.
func TestNamesAreValidAndTellTextsApart(t *testing.T) {
	valid, validTag := regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`), regexp.MustCompile(`^\w[\w.-]{0,127}$`)
	law := func(a, b string) bool {
		return valid.MatchString(part(a)) && len(part(a)) <= maxPart && validTag.MatchString(startedFormat+tag(a)) &&
			(a == b || part(a) != part(b) && tag(a) != tag(b))
	}
	require.NoError(t, quick.Check(law, nil))
	texts := []string{"", "-", "a", "A", "a-", "-a", "a b", "a/b", "a--b", "Ä", "日本", string(make([]byte, 300)), "a.b", ".", "v1+", "v1 "}
	for _, a := range texts {
		for _, b := range texts {
			assert.True(t, law(a, b), "%q %q", a, b)
		}
	}
}
