package rules_test

import (
	"context"
	"encoding/json"
	"errors"
	"os/exec"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/internal/squawktest"

	"github.com/metaextract/pipeline/migrations/rules"
)

// shared are squawk's rules that we have.
var shared = []string{
	"adding-field-with-default", "adding-foreign-key-constraint", "adding-not-nullable-field", "adding-required-field",
	"adding-serial-primary-key-field", "ban-alter-domain-with-add-constraint", "ban-char-field", "ban-create-domain-with-constraint",
	"ban-drop-column", "ban-drop-database", "ban-drop-not-null", "ban-drop-table", "ban-duplicate-column-assignments",
	"ban-truncate-cascade", "changing-column-type", "constraint-missing-not-valid", "disallowed-unique-constraint",
	"identifier-too-long", "prefer-bigint-over-int", "prefer-bigint-over-smallint", "prefer-identity", "prefer-repack",
	"prefer-text-field", "prefer-timestamp-tz", "renaming-column", "renaming-table", "require-concurrent-index-creation",
	"require-concurrent-index-deletion", "require-concurrent-partition-detach", "require-concurrent-reindex", "require-enum-value-ordering",
}

// disagreement is a rule that only one of us reports for a file.
type disagreement struct{ rule, who, why string }

const (
	squawks = "squawk"
	ours    = "ours"
	once    = "one hint for one statement: the other rule that squawk reports says it with the recipe"
	fresh   = "the script makes the table: nobody uses it yet"
	numbers = "nextval() is volatile: PostgreSQL writes the table anew, as for IDENTITY, which squawk reports"
	leaves  = "the table's old name is taken again in the same transaction"
	before  = "squawk has it from PostgreSQL 19 on, where REPACK is; the command locks as long before"
)

// disagreements are the files about which squawk says something else, and why ours is right.
var disagreements = map[string][]disagreement{
	"add_column_default_nested.sql":     {{"adding-field-with-default", squawks, "md5() is immutable, and so is lower() of it; squawk looks at calls without arguments only"}},
	"add_column_default_timestamp.sql":  {{"adding-field-with-default", squawks, "CURRENT_DATE is stable"}},
	"add_column_references.sql":         {{"adding-foreign-key-constraint", squawks, "a new column of nulls is not looked at: TestSlowHintsAreWhatPostgreSQLDoes"}},
	"django.sql":                        {{"adding-foreign-key-constraint", squawks, "the same"}},
	"add_column_check.sql":              {{"constraint-missing-not-valid", ours, "all rows are looked at: the same test"}},
	"add_column_serial.sql":             {{"adding-field-with-default", ours, numbers}},
	"add_column_serial_primary_key.sql": {{"adding-field-with-default", ours, numbers}},
	"add_exclusion.sql":                 {{"constraint-missing-not-valid", squawks, "EXCLUDE cannot be NOT VALID; ours is exclusion-constraint"}},
	"add_foreign_key.sql":               {{"constraint-missing-not-valid", squawks, once}},
	"add_foreign_key_unnamed.sql":       {{"constraint-missing-not-valid", squawks, once}},
	"add_primary_key.sql":               {{"constraint-missing-not-valid", squawks, once}},
	"add_unique.sql":                    {{"constraint-missing-not-valid", squawks, once}},
	"alembic.sql":                       {{"constraint-missing-not-valid", squawks, once}},
	"prisma.sql":                        {{"constraint-missing-not-valid", squawks, once}},
	"drizzle.sql":                       {{"constraint-missing-not-valid", squawks, once}},
	"alter_domain_not_valid.sql":        {{"ban-alter-domain-with-add-constraint", squawks, "NOT VALID looks at no rows"}},
	"change_type_widened.sql":           {{"changing-column-type", squawks, "the script made it varchar(50): a wider limit changes the catalog alone"}},
	"copy_swap.sql":                     {{"renaming-table", squawks, leaves}},
	"rename_table_with_view.sql":        {{"renaming-table", squawks, leaves}},
	"create_table_if_not_exists.sql":    {{"require-concurrent-index-creation", ours, "the table may have been there, with rows"}},
	"primary_key_of_new_table.sql":      {{"adding-serial-primary-key-field", squawks, fresh}},
	"do_block.sql":                      {{"adding-foreign-key-constraint", ours, "squawk does not look into blocks"}},
	"not_understood.sql":                {{"adding-field-with-default", squawks, "VIRTUAL writes nothing anew; PostgreSQL 17's grammar does not know it, which is said"}, {"prefer-bigint-over-int", squawks, "the same"}},
	"cluster.sql":                       {{"prefer-repack", ours, before}},
	"vacuum_full.sql":                   {{"prefer-repack", ours, before}},
}

// squawk are the names of the rules that squawk reports for each of the files, each once.
func squawk(t testing.TB, program string, files []string) map[string][]string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, program, append([]string{"--reporter", "json", "--assume-in-transaction", "--pg-version", "15.0"}, files...)...)
	c.Dir = "testdata"
	out, err := c.Output()
	var ended *exec.ExitError
	if !errors.As(err, &ended) { // it exits with 1 where it reports something
		require.NoError(t, err)
	}
	var violations []struct {
		File string `json:"file"`
		Rule string `json:"rule_name"`
	}
	require.NoError(t, json.Unmarshal(out, &violations), string(out))
	names := map[string][]string{}
	for _, v := range violations {
		if slices.Contains(shared, v.Rule) && !slices.Contains(names[v.File], v.Rule) {
			names[v.File] = append(names[v.File], v.Rule)
		}
	}
	return names
}

func TestRulesAgreeWithSquawk(t *testing.T) {
	program := squawktest.Install(t, "squawk is not compared with")
	names, texts := files(t)
	require.Greater(t, len(names), 60)
	reported := squawk(t, program, names)
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			var mine []string
			for _, f := range check(t, name, texts[name], rules.Options{Major: 15}) {
				if slices.Contains(shared, f.Name) && !slices.Contains(mine, f.Name) {
					mine = append(mine, f.Name)
				}
			}
			theirs := reported[name]
			for _, d := range disagreements[name] {
				one, other := &mine, &theirs
				if d.who == squawks {
					one, other = other, one
				}
				i := slices.Index(*one, d.rule)
				require.GreaterOrEqual(t, i, 0, "%s no longer: take %s out of the table", d.who, d.rule)
				require.NotContains(t, *other, d.rule)
				*one = slices.Delete(*one, i, i+1)
			}
			assert.ElementsMatch(t, theirs, mine, "expected is squawk's")
		})
	}
}
