package rules

import (
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"

	"github.com/metaextract/pipeline/migrations/statement"
)

func (c *check) createIndex(n *pg.IndexStmt) {
	table := statement.Relation(n.GetRelation())
	if c.fresh(table) {
		return
	}
	switch {
	case !n.GetConcurrent():
		c.slowly("require-concurrent-index-creation", table, tableObject(table), 0,
			"Nobody can write "+table.String()+" while the index is built", recipe(alone, concurrently(n)))
	case n.GetIfNotExists():
		c.warn("concurrent-index-if-not-exists", tableObject(table), 0,
			"A build that failed leaves an invalid index behind, which IF NOT EXISTS takes for the real one",
			recipe("-- the migrator drops what a failed run left:", concurrently(n)))
	}
}

func (c *check) reindex(n *pg.ReindexStmt) {
	if statement.Concurrent(n) || n.GetKind() == pg.ReindexObjectType_REINDEX_OBJECT_SYSTEM || c.options.Major > 0 && c.options.Major < 12 {
		return
	}
	words := map[pg.ReindexObjectType]string{
		pg.ReindexObjectType_REINDEX_OBJECT_INDEX: "INDEX", pg.ReindexObjectType_REINDEX_OBJECT_TABLE: "TABLE",
		pg.ReindexObjectType_REINDEX_OBJECT_SCHEMA: "SCHEMA", pg.ReindexObjectType_REINDEX_OBJECT_DATABASE: "DATABASE",
	}
	what := statement.Relation(n.GetRelation())
	if n.GetRelation() == nil {
		what = statement.Name{Name: n.GetName()}
	}
	c.slow = true
	c.warn("require-concurrent-reindex", statement.Object{Kind: strings.ToLower(words[n.GetKind()]), Name: what}, 0, "Nobody can write the table while its index is built anew, nor read it by the index",
		recipe(alone, "REINDEX "+words[n.GetKind()]+" CONCURRENTLY "+what.SQL()+";"))
}
