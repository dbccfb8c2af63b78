package top

import (
	"context"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/mtlsproxy/mtlsproxy/cmd/mtlsproxyctl/text"
)

// Model is a live screen for bubbletea. All fields that have a name in capitals
// must be set.
type Model struct {
	Source   *Source
	Screen   *Screen
	Context  context.Context               // bubbletea's commands take none
	Interval time.Duration                 // between two readings
	Timeout  time.Duration                 // of one reading
	Explain  func(error) string            // what to say of an error; it may ask the daemon
	Tick     func(d time.Duration) tea.Cmd // a Ticked after d

	before, last *Reading
	frame        *Frame
	help         bool
}

// Ticked says that it is time for another reading.
type Ticked struct{}

// Tick is the Tick of a Model on a terminal.
func Tick(d time.Duration) tea.Cmd {
	return tea.Tick(d, func(time.Time) tea.Msg { return Ticked{} })
}

// got is the outcome of a reading.
type got struct {
	reading *Reading
	trouble string // why there is none
}

// Init implements tea.Model.
func (m *Model) Init() tea.Cmd {
	m.Screen.live = true
	return m.read
}

func (m *Model) read() tea.Msg {
	ctx, cancel := context.WithTimeout(m.Context, m.Timeout)
	defer cancel()
	r, err := m.Source.Read(ctx)
	if err != nil {
		return got{trouble: text.Safe(m.Explain(err))}
	}
	return got{reading: r}
}

// Update implements tea.Model.
func (m *Model) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.Screen.Page.Width, m.Screen.Height = msg.Width, msg.Height
	case tea.KeyPressMsg:
		return m, m.key(msg.String())
	case Ticked:
		return m, m.read
	case got:
		m.take(msg)
		return m, m.Tick(m.Interval)
	}
	return m, nil
}

// take makes a frame of a reading. After one that failed, the next two are compared:
// the daemon may be another one.
func (m *Model) take(g got) {
	if g.reading == nil {
		m.Screen.trouble = g.trouble + "; trying again"
		m.last = nil
		return
	}
	m.Screen.trouble = ""
	m.before, m.last = m.last, g.reading
	if !m.Screen.paused {
		m.frame = Compare(m.before, m.last)
	}
}

// key does what a key is for.
func (m *Model) key(name string) tea.Cmd {
	s := m.Screen
	columns := 0
	if m.frame != nil {
		list := s.panesOf(m.frame)
		columns = len(list[s.pane].columns)
	}
	switch name {
	case "q", "ctrl+c":
		return tea.Quit
	case "esc":
		if !m.help {
			return tea.Quit
		}
		m.help = false
	case "?", "h":
		m.help = !m.help
	case "p", "space":
		if s.paused = !s.paused; !s.paused && m.last != nil {
			m.frame = Compare(m.before, m.last)
		}
	case "tab":
		s.pane = (s.pane + 1) % panes
	case "shift+tab":
		s.pane = (s.pane + panes - 1) % panes
	case "right":
		s.sort[s.pane] = min(s.sort[s.pane]+1, max(0, columns-1))
	case "left":
		s.sort[s.pane] = max(0, s.sort[s.pane]-1)
	case "down":
		s.offset[s.pane]++
	case "up":
		s.offset[s.pane] = max(0, s.offset[s.pane]-1)
	}
	return nil
}

const helpText = `q, Ctrl-C     quit
tab           next pane; shift+tab: the one before
left, right   sort the pane by another column
up, down      scroll the pane
p             pause: the screen stays as it is; p again goes on
?             this help

REQ/S   requests per second, of the last interval
ERR/S   answered by the daemon itself, or cut short
5XX/S   answered with a status of 500 or more, by whomever
NOW     exchanges under way
P50 …   half, 95 % and 99 % of the requests took no longer
NEW/S   TLS handshakes per second
FIRST   time to the first byte of the upstream's response
UP      endpoints that are up, of all
`

// View implements tea.Model.
func (m *Model) View() tea.View {
	var v tea.View
	switch {
	case m.help:
		v = tea.NewView(helpText)
	case m.frame != nil:
		v = tea.NewView(m.Screen.Draw(m.frame))
	case m.Screen.trouble != "":
		v = tea.NewView(text.Cut(m.Screen.trouble, m.Screen.Page.Width))
	default:
		v = tea.NewView("asking the daemon …")
	}
	v.AltScreen = true
	return v
}
