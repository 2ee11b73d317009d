package router

// RouteName is what records call a request's route: its method and its path with ids taken out, "GET /items/:id". It is
// for data planes that write records of their own; how many names there are is theirs to bound.
func RouteName(method, path string) string { return string(normalise(nil, method, path)) }

// Check reports as an *Error why a routing is refused, whatever is registered.
func (v Routing) Check() error { return v.check() }
