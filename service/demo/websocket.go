package demo

import (
	"bufio"
	"context"
	"crypto/sha1" //nolint:gosec // RFC 6455 wants it, as a check that somebody understood the question
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// What RFC 6455 asks for, as far as an echo needs it.
const (
	webSocketGUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

	opText  = 0x1
	opClose = 0x8
	opPing  = 0x9
	opPong  = 0xA

	finalBit = 0x80
	maskBit  = 0x80
)

// acceptKey is the answer to a Sec-WebSocket-Key.
func acceptKey(key string) string {
	sum := sha1.Sum([]byte(key + webSocketGUID)) //nolint:gosec // see above
	return base64.StdEncoding.EncodeToString(sum[:])
}

// websocket sends every frame back.
func (u *upstream) websocket(w http.ResponseWriter, r *http.Request) {
	key := r.Header.Get("Sec-Websocket-Key")
	if !strings.EqualFold(r.Header.Get("Upgrade"), "websocket") || key == "" {
		w.Header().Set("Upgrade", "websocket")
		http.Error(w, "this is for websockets only", http.StatusUpgradeRequired)
		return
	}
	w.Header().Set("Upgrade", "websocket")
	w.Header().Set("Connection", "Upgrade")
	w.Header().Set("Sec-Websocket-Accept", acceptKey(key))
	w.WriteHeader(http.StatusSwitchingProtocols)
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	u.upgraded.Add(1)
	defer u.upgraded.Done()
	stop := context.AfterFunc(r.Context(), func() { _ = conn.Close() }) // ends the reading below
	defer stop()
	defer func() { _ = conn.Close() }() // both sides have said what they had to
	for {
		first, payload, err := readFrame(rw.Reader)
		if err != nil {
			return
		}
		answer := first
		if first == finalBit|opPing {
			answer = finalBit | opPong
		}
		if writeFrame(rw, answer, payload, nil) != nil || rw.Flush() != nil || first == finalBit|opClose {
			return
		}
	}
}

// readFrame reads a frame of up to 64 KiB and takes its mask off. first is its
// first byte: the opcode, and whether the message ends with it.
func readFrame(r *bufio.Reader) (first byte, payload []byte, err error) {
	var head [2]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, err
	}
	size := int(head[1] &^ maskBit)
	switch size {
	case 126:
		var long [2]byte
		if _, err := io.ReadFull(r, long[:]); err != nil {
			return 0, nil, err
		}
		size = int(binary.BigEndian.Uint16(long[:]))
	case 127:
		return 0, nil, errors.New("the frame is too long for this demonstration")
	}
	var mask [4]byte
	if head[1]&maskBit != 0 {
		if _, err := io.ReadFull(r, mask[:]); err != nil {
			return 0, nil, err
		}
	}
	payload = make([]byte, size)
	if _, err := io.ReadFull(r, payload); err != nil {
		return 0, nil, err
	}
	for i := range payload {
		payload[i] ^= mask[i%len(mask)]
	}
	return head[0], payload, nil
}

// writeFrame writes a frame of up to 64 KiB. Clients must mask.
func writeFrame(w io.Writer, first byte, payload, mask []byte) error {
	frame := []byte{first, 0}
	switch {
	case len(payload) < 126:
		frame[1] = byte(len(payload))
	case len(payload) <= 0xffff:
		frame[1] = 126
		frame = binary.BigEndian.AppendUint16(frame, uint16(len(payload)))
	default:
		return fmt.Errorf("%d bytes are too long for this demonstration", len(payload))
	}
	body := append([]byte(nil), payload...)
	if mask != nil {
		frame[1] |= maskBit
		frame = append(frame, mask...)
		for i := range body {
			body[i] ^= mask[i%len(mask)]
		}
	}
	_, err := w.Write(append(frame, body...))
	return err
}
