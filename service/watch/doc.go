// Package watch tells that files changed: certificates that rotate, and the
// configuration directory.
//
// It looks at what a path leads to, not at the path: every directory and every
// symbolic link on the way is watched through inotify(7) and followed anew after
// each event, so that a file that is renamed over, a link that is turned, and a
// directory that is replaced or mounted over are all noticed. What counts is the result: bytes,
// mode and owner, or the error that stands in their place. If those are equal
// after the dust has settled, nothing is reported.
//
// inotify does not see everything: other hosts' changes of a network file system,
// directories that may not be read, more directories than the kernel's limits
// allow. So every path is polled as well, and State tells for which of them
// polling is all there is, and why.
//
// The package does not keep or interpret what it reads, and a report does not
// promise that two files fit each other: whoever reads them has to check.
//
// A file system that does not answer, such as a server of hard-mounted NFS that
// is gone, holds up New, Set, Close and the looks; State still answers, and its
// LastLook grows old.
package watch
