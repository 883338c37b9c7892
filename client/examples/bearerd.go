// Package bearerd gives coze-go the tokens of bearerd:
//
//	api := coze.NewCozeAPI(bearerd.New("bot", ""), coze.WithBaseURL("https://api.coze.cn"))
//
// The SDK asks before each request. The daemon answers from memory, so keep no copy of the token. When the API refuses it
// (codes 4100 and 700012006), say because it was revoked, call Reject and try again.
package bearerd

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"sync"
	"time"
)

const patience = 2 * time.Second // for a daemon that is being restarted

// Auth is a coze.Auth: the tokens of one credential, or of one end user (subject) below it.
type Auth struct {
	url    string
	client http.Client

	mutex          sync.Mutex
	last, rejected string
}

// New makes an Auth; the empty subject is the credential itself.
func New(credential, subject string) *Auth {
	path := os.Getenv("BEARERD_SOCKET")
	if path == "" {
		path = "/run/bearerd/bearerd.sock"
	}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", path)
	}
	return &Auth{
		url: "http://localhost/v1/token/" + url.PathEscape(credential) +
			"?subject=" + url.QueryEscape(subject),
		client: http.Client{Transport: &http.Transport{DialContext: dial}},
	}
}

// Reject says that the API has refused the last token: the next one is another.
func (a *Auth) Reject() {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	a.rejected = fmt.Sprintf("&rejected=%.8x", sha256.Sum256([]byte(a.last)))
}

// Token returns a token that is still good.
func (a *Auth) Token(ctx context.Context) (string, error) {
	a.mutex.Lock()
	rejected := a.rejected
	a.mutex.Unlock()
	token, err := a.ask(ctx, a.url+rejected)
	if err != nil {
		return "", err
	}
	a.mutex.Lock()
	defer a.mutex.Unlock()
	if a.last = token; a.rejected == rejected {
		a.rejected = ""
	}
	return token, nil
}

func (a *Auth) ask(ctx context.Context, url string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	request.Header.Set("Accept", "text/plain")
	response, err := a.client.Do(request)
	for end := time.Now().Add(patience); err != nil && ctx.Err() == nil && time.Now().Before(end); {
		time.Sleep(100 * time.Millisecond)
		response, err = a.client.Do(request)
	}
	if err != nil {
		return "", fmt.Errorf("no answer from bearerd: %w", err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return "", fmt.Errorf("no answer from bearerd: %w", err)
	}
	if response.StatusCode == http.StatusOK {
		return string(body), nil
	}
	var refusal struct {
		Description string `json:"error_description"`
	}
	if err := json.Unmarshal(body, &refusal); err != nil {
		return "", fmt.Errorf("bearerd: %s: %w", response.Status, err)
	}
	return "", fmt.Errorf("bearerd: %s", refusal.Description)
}
