package haproxy

// SetAdminSocket makes the plane reach HAProxy over another socket.
func (p *Plane) SetAdminSocket(path string) { p.admin.socket = path }
