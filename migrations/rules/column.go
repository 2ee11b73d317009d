package rules

import (
	"fmt"
	"slices"
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"

	"github.com/metaextract/pipeline/migrations/finding"
	"github.com/metaextract/pipeline/migrations/statement"
)

func (c *check) addColumn(table statement.Name, d *pg.ColumnDef) {
	column, def := columnObject(table, d.GetColname()), statement.Defined(d)
	typ := statement.TypeText(d.GetTypeName())
	c.required(table, d, def, typ)
	if why := c.rewrites(def); why != "" {
		c.slowly("adding-field-with-default", table, column, d.GetLocation(),
			"Column "+d.GetColname()+" "+why+", so that table "+table.String()+" is written anew; nobody can read or write it meanwhile",
			filling(table, d, def, typ))
	}
	for _, node := range d.GetConstraints() {
		switch con := node.GetConstraint(); con.GetContype() {
		case pg.ConstrType_CONSTR_UNIQUE:
			c.unique(table, con, []string{d.GetColname()}, "disallowed-unique-constraint", "-- add the column without it, then")
		case pg.ConstrType_CONSTR_PRIMARY:
			c.unique(table, con, []string{d.GetColname()}, "adding-serial-primary-key-field", "-- add the column without it and fill it, then")
		case pg.ConstrType_CONSTR_FOREIGN:
			if def.Filled() { // a new column of nulls is not looked at (transformFKConstraints in parse_utilcmd.c)
				c.foreignKey(nil, table, con, []string{d.GetColname()})
			}
		case pg.ConstrType_CONSTR_CHECK:
			c.slowly("constraint-missing-not-valid", table, column, con.GetLocation(),
				"All rows of "+table.String()+" are looked at for the CHECK of column "+d.GetColname()+"; nobody can read or write it meanwhile",
				recipe("-- add the column without it, then:", alter(table, "ADD CONSTRAINT "+statement.Quote(named(table.Name, d.GetColname(), "check"))+
					" CHECK ("+statement.Expression(con.GetRawExpr())+") NOT VALID"), later,
					alter(table, "VALIDATE CONSTRAINT "+statement.Quote(named(table.Name, d.GetColname(), "check")))))
		}
	}
	if typ == "json" {
		c.warn("json-column", column, d.GetLocation(), "json has no equality: SELECT DISTINCT, UNION and GROUP BY over the rows of "+table.String()+" fail from now on",
			alter(table, "ADD COLUMN "+statement.Quote(d.GetColname())+" jsonb"))
	}
}

// required is about a column that old code does not know and must not leave out.
func (c *check) required(table statement.Name, d *pg.ColumnDef, def statement.Definition, typ string) {
	if !def.NotNull || def.Filled() {
		return
	}
	level := finding.Warn
	message := "It fails if " + table.String() + " has rows, for they have no value for column " + d.GetColname() + ", and old code's INSERT fails afterwards"
	if rows, known := c.rows(table); known && rows > 0 {
		level = finding.Refuse
		message = fmt.Sprintf("It fails, for the about %d rows of %s have no value for column %s", rows, table, d.GetColname())
	}
	name := statement.Quote(d.GetColname())
	c.hint(level, "adding-required-field", columnObject(table, d.GetColname()), d.GetLocation(), message, recipe(
		"-- with a default that holds for all rows:",
		alter(table, "ADD COLUMN "+name+" "+typ+" NOT NULL DEFAULT …"),
		"-- or without one:",
		alter(table, "ADD COLUMN "+name+" "+typ),
		fill(table, name, "…"),
		"-- and when new code fills it:",
		notNull(table, d.GetColname()),
	))
}

// rewrites says why a new column makes PostgreSQL write the whole table; "" where it does not.
func (c *check) rewrites(def statement.Definition) string {
	switch {
	case def.Generated != nil:
		return "is generated and stored"
	case def.Identity, def.Serial:
		return "gets a number of its own in every row"
	case def.Default == nil:
		return ""
	case c.options.Major > 0 && c.options.Major < 11:
		return "has a default"
	}
	for _, f := range statement.Calls(def.Default) {
		switch statement.VolatilityOf(f) {
		case statement.Volatile:
			return "has a default that is computed for every row, by " + f.String() + "()"
		case statement.Unknown:
			if !c.steady(f) {
				return "has a default that is computed for every row if " + f.String() + "() is volatile, as functions are unless declared otherwise"
			}
		}
	}
	return ""
}

// steady says whether the script defines a function as one that is not volatile.
func (c *check) steady(f statement.Name) bool {
	for _, st := range c.list[:c.index] {
		n := st.Tree().GetCreateFunctionStmt()
		if n == nil || len(st.Makes()) == 0 || !st.Makes()[0].Name.Is(f) {
			continue
		}
		for _, o := range n.GetOptions() {
			if d := o.GetDefElem(); d.GetDefname() == "volatility" && d.GetArg().GetString_().GetSval() != "volatile" {
				return true
			}
		}
	}
	return false
}

// filling is how a column is added whose values differ from row to row.
func filling(table statement.Name, d *pg.ColumnDef, def statement.Definition, typ string) string {
	name := statement.Quote(d.GetColname())
	add := alter(table, "ADD COLUMN "+name+" "+typ)
	switch {
	case def.Generated != nil:
		return recipe(add, "-- write it in the code or by a trigger, and the rows that are there in batches,",
			fill(table, name, statement.Expression(def.Generated)))
	case def.Identity, def.Serial:
		sequence := statement.Name{Schema: table.Schema, Name: named(table.Name, d.GetColname(), "seq")}
		next := "nextval(" + literal(sequence.SQL()) + ")"
		return recipe(add, "CREATE SEQUENCE "+sequence.SQL()+" OWNED BY "+table.SQL()+"."+name+";",
			alter(table, "ALTER COLUMN "+name+" SET DEFAULT "+next), fill(table, name, next))
	}
	value := statement.Expression(def.Default)
	steps := []string{add, alter(table, "ALTER COLUMN "+name+" SET DEFAULT "+value), fill(table, name, value)}
	if def.NotNull {
		steps = append(steps, "-- and then:", notNull(table, d.GetColname()))
	}
	return recipe(steps...)
}

func literal(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }

func (c *check) changeType(table statement.Name, column string, d *pg.ColumnDef) {
	if c.now.NewColumn(statement.Column{Table: table, Column: column}) {
		return
	}
	to := statement.TypeText(d.GetTypeName())
	from, known := c.typeOf(statement.Column{Table: table, Column: column})
	var message string
	switch plainly := plainCast(d.GetRawDefault(), column, to); {
	case known && plainly && statement.Widens(from, to, false):
		return
	case known && plainly && statement.Widens(from, to, true):
		message = "Unless TimeZone is UTC, table " + table.String() + " is written anew to make column " + column + " " + to
	case known:
		message = "Table " + table.String() + " is written anew to make column " + column + " " + to + " instead of " + from
	default:
		message = "If it is not " + harmless(to) + ", table " + table.String() + " is written anew to make column " + column + " " + to
	}
	name, next := statement.Quote(column), statement.Quote(named(column, "new"))
	c.slowly("changing-column-type", table, columnObject(table, column), 0,
		message+"; nobody can read or write it meanwhile, and old code may not expect the new type",
		recipe(alter(table, "ADD COLUMN "+next+" "+to), "-- write both columns in the code or by a trigger, and",
			fill(table, next, name+"::"+to), "-- read the new column in the code; then",
			release, alter(table, "DROP COLUMN "+name)))
}

// plainCast says whether USING is left out, or does what is done without it.
func plainCast(using *pg.Node, column, to string) bool {
	if cast := using.GetTypeCast(); cast != nil && statement.TypeText(cast.GetTypeName()) == to {
		using = cast.GetArg()
	}
	return using == nil || slices.Equal(namesIn(using.GetColumnRef().GetFields()), []string{column})
}

// harmless are the types that can be changed to another one without writing the table anew.
func harmless(to string) string {
	word, _, _ := strings.Cut(to, "(")
	switch word {
	case "text":
		return "a varchar"
	case "character varying":
		if word == to {
			return "a varchar or text"
		}
		return "a shorter varchar"
	case "numeric":
		if word == to {
			return "a numeric"
		}
		return "a numeric of fewer digits and as many after the point"
	case "inet":
		return "cidr"
	}
	if strings.HasPrefix(to, "time") {
		return "the same with fewer digits"
	}
	return "the same type already"
}

func (c *check) setNotNull(table statement.Name, column string) {
	if c.options.Major == 0 || c.options.Major >= 12 {
		for _, v := range c.validated {
			if v.table.Is(table) && (v.column == column || v.column == "*") {
				return // PostgreSQL takes the CHECK as proof
			}
		}
	}
	c.slowly("adding-not-nullable-field", table, columnObject(table, column), 0,
		"All rows of "+table.String()+" are looked at for a null in column "+column+"; nobody can read or write it meanwhile", notNull(table, column))
}

func (c *check) dropColumn(table statement.Name, cmd *pg.AlterTableCmd) {
	if c.now.NewColumn(statement.Column{Table: table, Column: cmd.GetName()}) {
		return
	}
	column := columnObject(table, cmd.GetName())
	c.warn("ban-drop-column", column, 0,
		"Old code that names column "+cmd.GetName()+" of "+table.String()+" fails; an ORM names all columns it knows, also in INSERT",
		recipe("-- release code that does not know the column; then "+strings.TrimPrefix(release, "-- "),
			"-- deploy: irreversible the values of "+table.String()+"."+cmd.GetName()+" are gone", alter(table, "DROP COLUMN "+statement.Quote(cmd.GetName()))))
	c.cascades(column, cmd.GetBehavior())
	c.loses(column.String())
}
