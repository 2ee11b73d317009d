package plans

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/metaextract/pipeline/internal/pg"
)

const (
	// name is that of the statement that is prepared, in the session.
	name = "pipeline_plan"
	// planning bounds how long PostgreSQL may think about a plan.
	planning = 10 * time.Second
	// genericSince is the version with EXPLAIN (GENERIC_PLAN).
	genericSince = 16
)

// Generic is the plan that PostgreSQL makes for a statement whatever its parameters are. Nothing is executed, and no
// transaction may be open in the session. The error is of PostgreSQL where it refuses the statement.
//
// From PostgreSQL 16 it is EXPLAIN (GENERIC_PLAN). Before, the statement is prepared and EXPLAIN EXECUTE told to plan for any
// parameters; they are NULL, for which the executor would leave out all partitions before they are shown, hence no pruning.
func Generic(ctx context.Context, conn *pgx.Conn, sql string) (*Node, error) {
	parameters, err := parameters(ctx, conn, sql)
	if err != nil {
		return nil, err
	}
	limits := fmt.Sprintf("SET LOCAL transaction_read_only = on; SET LOCAL statement_timeout = %d;", planning.Milliseconds())
	if major(conn) >= genericSince {
		return ask(ctx, conn, limits, "EXPLAIN (GENERIC_PLAN, VERBOSE, FORMAT JSON) "+sql)
	}
	nulls := make([]string, len(parameters))
	for i := range nulls {
		nulls[i] = "NULL"
	}
	defer deallocate(ctx, conn)
	return ask(ctx, conn, limits+"SET LOCAL plan_cache_mode = force_generic_plan; SET LOCAL enable_partition_pruning = off; PREPARE "+name+" AS "+sql,
		"EXPLAIN (VERBOSE, FORMAT JSON) EXECUTE "+name+arguments(nulls))
}

// parameters are the types of a statement's parameters. It is asked by the protocol that refuses several statements in one
// text: what is sent after EXPLAIN must not hold a second one, which would be executed.
func parameters(ctx context.Context, conn *pgx.Conn, sql string) ([]uint32, error) {
	described, err := conn.PgConn().Prepare(ctx, "", sql, nil)
	if err != nil {
		return nil, pg.Ended(ctx, err)
	}
	return described.ParamOIDs, nil
}

// ask sends what prepares a question, and the question, whose answer is a plan. All of it is one transaction, that of the
// simple protocol, which ends with it.
func ask(ctx context.Context, conn *pgx.Conn, before, question string) (*Node, error) {
	results, err := conn.PgConn().Exec(ctx, before+";"+question).ReadAll()
	if err != nil {
		return nil, pg.Ended(ctx, err)
	}
	node, _, err := answer(results)
	return node, err
}

// answer is the plan in the last result that has rows, and how long the execution took, if there was one.
func answer(results []*pgconn.Result) (*Node, time.Duration, error) {
	for i := len(results) - 1; i >= 0; i-- {
		if len(results[i].Rows) == 0 {
			continue
		}
		var text strings.Builder
		for _, row := range results[i].Rows {
			text.Write(row[0])
		}
		var explained []struct {
			Plan *Node
			Time float64 `json:"Execution Time"` // milliseconds
		}
		if err := json.Unmarshal([]byte(text.String()), &explained); err != nil {
			return nil, 0, fmt.Errorf("read plan: %w", err)
		}
		if len(explained) == 1 && explained[0].Plan != nil {
			return explained[0].Plan, time.Duration(explained[0].Time * float64(time.Millisecond)), nil
		}
		return nil, 0, fmt.Errorf("read plan: %d of them", len(explained))
	}
	return nil, 0, errors.New("read plan: there is none")
}

// deallocate forgets the prepared statement, which the end of the transaction does not.
func deallocate(ctx context.Context, conn *pgx.Conn) {
	ctx, cancel := pg.Farewell(ctx)
	defer cancel()
	_, _ = conn.PgConn().Exec(ctx, "DEALLOCATE "+name).ReadAll() // where PREPARE failed there is none
}

// arguments are those of EXECUTE.
func arguments(values []string) string {
	if len(values) == 0 {
		return ""
	}
	return "(" + strings.Join(values, ", ") + ")"
}

// major is the server's version. "15.18 (Debian)" is 15, "19devel" 19.
func major(conn *pgx.Conn) int {
	version := conn.PgConn().ParameterStatus("server_version")
	digits := strings.IndexFunc(version, func(r rune) bool { return r < '0' || r > '9' })
	if digits >= 0 {
		version = version[:digits]
	}
	number, _ := strconv.Atoi(version)
	return number
}

// because is why PostgreSQL refuses a statement, without the details, which may quote rows.
func because(err error) string {
	var server *pgconn.PgError
	if errors.As(err, &server) {
		return fmt.Sprintf("%s (SQLSTATE %s)", server.Message, server.Code)
	}
	return err.Error()
}
