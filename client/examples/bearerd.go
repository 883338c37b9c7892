// Package bearerd gives coze-go the tokens of bearerd:
//
//	api := coze.NewCozeAPI(bearerd.New("bot", ""), coze.WithBaseURL("https://api.coze.cn"))
//
// The SDK asks before each request. The daemon answers from memory, so keep no copy of the token.
package bearerd

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"time"
)

const patience = 2 * time.Second // for a daemon that is being restarted

// Auth is a coze.Auth: the tokens of one credential, or of one end user (subject) below it.
type Auth struct {
	url    string
	client http.Client
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

// Token returns a token that is still good.
func (a *Auth) Token(ctx context.Context) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, a.url, nil)
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
