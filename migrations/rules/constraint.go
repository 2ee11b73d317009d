package rules

import (
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"

	"github.com/metaextract/pipeline/migrations/statement"
)

func (c *check) addConstraint(n *pg.AlterTableStmt, table statement.Name, con *pg.Constraint) {
	switch con.GetContype() {
	case pg.ConstrType_CONSTR_FOREIGN:
		c.foreignKey(n, table, con, namesIn(con.GetFkAttrs()))
	case pg.ConstrType_CONSTR_UNIQUE:
		c.unique(table, con, namesIn(con.GetKeys()), "disallowed-unique-constraint", "")
	case pg.ConstrType_CONSTR_PRIMARY:
		c.unique(table, con, namesIn(con.GetKeys()), "adding-serial-primary-key-field", "")
	case pg.ConstrType_CONSTR_EXCLUSION:
		c.slowly("exclusion-constraint", table, tableObject(table), con.GetLocation(),
			"Nobody can read or write "+table.String()+" while the index of the EXCLUDE constraint is built, and there is no other way to add one",
			"-- add it to a new table that is filled in batches, or do it when nobody minds")
	case pg.ConstrType_CONSTR_CHECK:
		if con.GetSkipValidation() {
			return
		}
		name := con.GetConname()
		if name == "" {
			name = named(table.Name, "check")
		}
		c.slowly("constraint-missing-not-valid", table, tableObject(table), con.GetLocation(),
			"All rows of "+table.String()+" are looked at for the CHECK; nobody can read or write it meanwhile",
			recipe(withConstraint(n, con, func(k *pg.Constraint) { k.Conname, k.SkipValidation, k.InitiallyValid = name, true, false }),
				later, alter(table, "VALIDATE CONSTRAINT "+statement.Quote(name))))
	}
}

// foreignKey is about one that looks at all rows; n is nil where a column is added with it.
func (c *check) foreignKey(n *pg.AlterTableStmt, table statement.Name, con *pg.Constraint, columns []string) {
	if con.GetSkipValidation() {
		return
	}
	name := con.GetConname()
	if name == "" {
		name = named(append(append([]string{table.Name}, columns...), "fkey")...)
	}
	other := statement.Relation(con.GetPktable())
	first := "-- add the column without REFERENCES, and the constraint by itself"
	if n != nil {
		first = withConstraint(n, con, func(k *pg.Constraint) { k.Conname, k.SkipValidation, k.InitiallyValid = name, true, false })
	}
	c.slowly("adding-foreign-key-constraint", table, tableObject(table), con.GetLocation(),
		"All rows of "+table.String()+" are looked up in "+other.String()+"; nobody can write either table meanwhile",
		recipe(first, later, alter(table, "VALIDATE CONSTRAINT "+statement.Quote(name))))
}

// unique is about UNIQUE and PRIMARY KEY; first is what is done before.
func (c *check) unique(table statement.Name, con *pg.Constraint, columns []string, rule, first string) {
	if con.GetIndexname() != "" {
		return
	}
	word, suffix := "UNIQUE", "key"
	parts := append([]string{table.Name}, columns...)
	if con.GetContype() == pg.ConstrType_CONSTR_PRIMARY {
		word, suffix, parts = "PRIMARY KEY", "pkey", []string{table.Name}
	}
	name := con.GetConname()
	if name == "" {
		name = named(append(parts, suffix)...)
	}
	steps := []string{alone, uniqueIndex(name, table, con, columns)}
	if first != "" {
		steps = append([]string{first}, steps...)
	}
	if word == "PRIMARY KEY" {
		for _, column := range columns {
			steps = append(steps, "-- in a later file, where the column is not NOT NULL yet:", notNull(table, column))
		}
	}
	steps = append(steps, later, alter(table, "ADD CONSTRAINT "+statement.Quote(name)+" "+word+" USING INDEX "+statement.Quote(name)))
	c.slowly(rule, table, tableObject(table), con.GetLocation(),
		"Nobody can read or write "+table.String()+" while the index of "+word+" "+columnList(columns)+" is built", recipe(steps...))
}

// validate is about a constraint that is validated while the lock that added it is held.
func (c *check) validate(table statement.Name, name string) {
	if c.script.Outside {
		return
	}
	for _, u := range c.unchecked {
		if u.table.Is(table) && u.name == name {
			c.warn("constraint-missing-not-valid", tableObject(table), 0,
				"Constraint "+name+" is validated in the transaction that adds it, under its lock: NOT VALID gains nothing",
				recipe(later, alter(table, "VALIDATE CONSTRAINT "+statement.Quote(name))))
			return
		}
	}
}

// notNullColumn is the column of CHECK (column IS NOT NULL); "" for another constraint.
func notNullColumn(con *pg.Constraint) string {
	test := con.GetRawExpr().GetNullTest()
	if test.GetNulltesttype() != pg.NullTestType_IS_NOT_NULL {
		return ""
	}
	fields := namesIn(test.GetArg().GetColumnRef().GetFields())
	if len(fields) == 0 {
		return ""
	}
	return fields[len(fields)-1]
}

func (c *check) attach(n *pg.PartitionCmd) {
	part := statement.Relation(n.GetName())
	if c.fresh(part) || n.GetBound().GetIsDefault() {
		return
	}
	for _, other := range c.checks {
		if other.Is(part) {
			return
		}
	}
	check := statement.Quote(named(part.Name, "bound"))
	c.slowly("attach-partition-without-check", part, tableObject(part), 0,
		"All rows of "+part.String()+" are looked at before it becomes a partition, unless a valid CHECK says what the bound says; nobody can read or write it meanwhile",
		recipe("-- with the bound as a condition, NOT NULL included:", alter(part, "ADD CONSTRAINT "+check+" CHECK (…) NOT VALID"),
			later, alter(part, "VALIDATE CONSTRAINT "+check), later, strings.TrimSuffix(c.now.SQL(), ";")+";", alter(part, "DROP CONSTRAINT "+check)))
}

func (c *check) detach(table statement.Name, n *pg.PartitionCmd) {
	if n.GetConcurrent() || c.options.Major > 0 && c.options.Major < 14 {
		return
	}
	part := statement.Relation(n.GetName())
	c.warn("require-concurrent-partition-detach", tableObject(part), 0,
		"Detaching "+part.String()+" waits for all that use "+table.String()+", and all others wait behind it",
		recipe(alone, alter(table, "DETACH PARTITION "+part.SQL()+" CONCURRENTLY")))
}
