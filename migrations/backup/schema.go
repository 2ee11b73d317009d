package backup

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/metaextract/pipeline/migrations/catalog"
)

// differences lists what differs between the schema that was backed up and that of the copy, and as notes what may: an
// extension comes in the version that the copy's server has, and a server does not always write an expression as it has read
// it. Without roles, owners and privileges are not there to compare.
func differences(want, got *catalog.Snapshot, roles bool) (different, notes []string) {
	if !roles {
		want, got = want.WithoutAccess(), got.WithoutAccess()
	}
	meant := map[string]bool{}
	for _, d := range catalog.Compare(meaning(want), meaning(got)) {
		meant[d.Object] = true
	}
	other := want.Server/10000 != got.Server/10000
	for _, d := range catalog.Compare(want, got) {
		switch {
		case d.Kind == catalog.Changed && strings.HasPrefix(d.Object, "extension "):
			notes = append(notes, d.String())
		case d.Kind == catalog.Changed && !meant[d.Object]:
			notes = append(notes, d.Object+" is written in another way once it was restored, with the same meaning")
		case d.Kind == catalog.Changed && other:
			notes = append(notes, fmt.Sprintf("%s is written in another way, which may be the way of the copy's version: %s", d.Object, d))
		default:
			different = append(different, d.String())
		}
	}
	return different, notes
}

// casts are casts and parentheses in an expression, and white space.
var casts = regexp.MustCompile(`::("[^"]+"|[a-z_0-9]+)(\.("[^"]+"|[a-z_0-9]+))?( varying| precision| with(out)? time zone)?(\(\d+(,\d+)?\))?(\[\])*|[()\s]`)

// meaning is a schema with its expressions without casts and parentheses. PostgreSQL moves them when it reads what it has
// written itself: varchar IN ('a', 'b') is kept as (ARRAY['a'::character varying, …])::text[], and as
// ARRAY[('a'::character varying)::text, …] after a restore.
func meaning(s *catalog.Snapshot) *catalog.Snapshot {
	plain := *s
	plain.Objects = slices.Clone(s.Objects)
	for i, o := range plain.Objects {
		o.Properties = maps.Clone(o.Properties)
		for name, value := range o.Properties {
			o.Properties[name] = casts.ReplaceAllString(value, "")
		}
		plain.Objects[i] = o
	}
	return &plain
}
