// Package sd is the daemon's side of systemd: the descriptors that are passed to
// it, what it tells the service manager, the fd store, the watchdog, and what its
// environment says.
//
// # Descriptors
//
// [Take] takes what sd_listen_fds(3) describes, once, first thing in the process.
// Only two kinds are of use: listening stream sockets, TCP or unix, under the name
// of a listener; and the parcel of client connections that the process before this
// one has put into the fd store. Everything else is closed and reported. Nobody
// serves a descriptor because it happens to be there.
//
// # Notifications
//
// [Notifier] is one ordered state machine. It sends nothing that is already known,
// nothing after the end has begun that speaks of readiness, and never waits long:
// what the service manager cannot take now, because it is busy, is sent later in
// the same order. A nil *Notifier does nothing, so that nobody has to ask whether
// there is a service manager.
//
// # The fd store
//
// [Notifier.Store] hands idle client connections over to the next process. It does
// not store them one by one: the manager compares each descriptor with all that it
// has (kcmp(2)), which for 5000 connections kept systemd 252 busy for ten seconds,
// and the whole host with it; and the names of all must fit into one variable of
// 128 KiB, or the unit cannot be started again. So the descriptors wait in the queue
// of a unix socket, unix(7), and only that one, the parcel, is in the store, under
// the name "clients". Its sender is closed, for which the manager would drop it
// (EPOLLHUP), hence FDPOLL=0. Clients that leave meanwhile show in the next process.
//
// When the manager empties the store, as it does when the service is stopped, the
// kernel closes what is in the parcel. Take empties it, so the connections belong to
// the new process alone from then on; [Notifier.Unstore] removes what is left of it.
//
// The package imports nothing of the project and has no state of its own, though
// Take changes the environment.
package sd
