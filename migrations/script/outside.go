package script

// OutsideTransaction says whether PostgreSQL refuses a statement in a transaction block (the callers of
// PreventInTransactionBlock in its source). What is missed here, such as REINDEX of a partitioned table, fails with
// 25001, whose error says to write NoTransaction.
func OutsideTransaction(s Statement) bool {
	switch {
	case s.Begins("VACUUM"), s.Begins("ALTER", "SYSTEM"),
		s.Begins("CREATE", "DATABASE"), s.Begins("DROP", "DATABASE"),
		s.Begins("CREATE", "TABLESPACE"), s.Begins("DROP", "TABLESPACE"),
		s.Begins("CREATE", "SUBSCRIPTION"), s.Begins("DROP", "SUBSCRIPTION"), s.Begins("ALTER", "SUBSCRIPTION"):
		return true
	case s.Begins("ALTER", "DATABASE"):
		return s.Has("SET", "TABLESPACE")
	case s.Begins("CLUSTER"):
		return len(s.Words) == 1 || len(s.Words) == 2 && s.Words[1] == "VERBOSE"
	case s.Begins("REINDEX"):
		return s.Has("CONCURRENTLY") || s.Has("DATABASE") || s.Has("SYSTEM") || s.Has("SCHEMA")
	}
	return Concurrent(s)
}

// Concurrent is a statement that waits for other transactions without keeping anybody out meanwhile.
func Concurrent(s Statement) bool {
	switch {
	case s.Begins("CREATE", "INDEX", "CONCURRENTLY"), s.Begins("CREATE", "UNIQUE", "INDEX", "CONCURRENTLY"),
		s.Begins("DROP", "INDEX", "CONCURRENTLY"):
		return true
	case s.Begins("ALTER", "TABLE"):
		return s.Has("DETACH", "PARTITION") && s.Has("CONCURRENTLY")
	case s.Begins("REINDEX"):
		return s.Has("CONCURRENTLY")
	}
	return false
}
