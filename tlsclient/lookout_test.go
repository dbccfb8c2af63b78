package tlsclient

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestSilenceOfAPeer(t *testing.T) {
	const limit = uint32(userTimeout / time.Millisecond)
	for name, c := range map[string]struct {
		info unix.TCPInfo
		gone bool
		next time.Duration // 0: never
	}{
		"nothing is under way":                      {unix.TCPInfo{Last_ack_recv: 5 * limit, Last_data_sent: 5 * limit}, false, 0},
		"it has just said something":                {unix.TCPInfo{Unacked: 3, Last_ack_recv: 4000, Last_data_sent: 100}, false, userTimeout - 4*time.Second},
		"it does not answer":                        {unix.TCPInfo{Unacked: 3, Last_ack_recv: limit, Last_data_sent: 4800}, true, lookAgain},
		"what was sent was sent just now":           {unix.TCPInfo{Unacked: 1, Last_ack_recv: limit, Last_data_sent: 10}, false, lookAgain},
		"it has no room and says so to each try":    {unix.TCPInfo{Unacked: 1, Last_ack_recv: 3 * limit, Last_data_sent: 3*limit + 1}, false, lookAgain},
		"it has no room and answers each probe":     {unix.TCPInfo{Notsent_bytes: 1, Probes: 1, Last_ack_recv: 3 * limit}, false, lookAgain},
		"it had no room and answers probes no more": {unix.TCPInfo{Notsent_bytes: 1, Probes: 2, Last_ack_recv: limit}, true, lookAgain},
	} {
		if gone, next := silence(&c.info); gone != c.gone || next != c.next {
			t.Errorf("%s: gone %t, next look in %v; want %t, %v", name, gone, next, c.gone, c.next)
		}
	}
}
