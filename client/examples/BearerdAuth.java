import com.coze.openapi.service.auth.Auth;
import java.io.EOFException;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.StandardProtocolFamily;
import java.net.URLEncoder;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.Channels;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.concurrent.locks.LockSupport;

/**
 * coze-api with tokens of bearerd (Java 16 or later):
 *
 * <pre>
 * CozeAPI coze =
 *     new CozeAPI.Builder().auth(new BearerdAuth("bot")).baseURL("https://api.coze.cn").build();
 * </pre>
 *
 * The SDK asks before each request. The daemon answers from memory, so keep no copy of the token.
 * When the API refuses it (codes 4100 and 700012006), say because it was revoked, call reject() and
 * try again.
 */
public class BearerdAuth extends Auth {
  private static final String SOCKET =
      System.getenv().getOrDefault("BEARERD_SOCKET", "/run/bearerd/bearerd.sock");

  private static final long PATIENCE = 2_000_000_000L; // ns for a daemon that is being restarted

  private final String path;
  private volatile String last = "";
  private volatile String rejected = "";

  public BearerdAuth(String credential) {
    this(credential, "");
  }

  /** The tokens of one end user (subject) below a credential. */
  public BearerdAuth(String credential, String subject) {
    path = "/v1/token/" + encode(credential) + "?subject=" + encode(subject);
  }

  /** The API has refused the last token: the next one is another. */
  public void reject() {
    try {
      byte[] hash = MessageDigest.getInstance("SHA-256").digest(last.getBytes(StandardCharsets.UTF_8));
      rejected = String.format("&rejected=%016x", ByteBuffer.wrap(hash).getLong());
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException(e); // every Java has it
    }
  }

  @Override
  public String token() {
    for (long begin = System.nanoTime(); ; LockSupport.parkNanos(100_000_000)) {
      try {
        String told = rejected;
        String token = ask(told);
        last = token;
        if (rejected.equals(told)) {
          rejected = "";
        }
        return token;
      } catch (IOException e) {
        if (System.nanoTime() - begin > PATIENCE) {
          throw new UncheckedIOException("no answer from bearerd at " + SOCKET, e);
        }
      }
    }
  }

  private String ask(String told) throws IOException {
    String request =
        "GET " + path + told + " HTTP/1.1\r\n"
            + "Host: localhost\r\nAccept: text/plain\r\nConnection: close\r\n\r\n";
    String answer;
    try (SocketChannel channel = SocketChannel.open(StandardProtocolFamily.UNIX)) {
      channel.connect(UnixDomainSocketAddress.of(SOCKET));
      channel.write(ByteBuffer.wrap(request.getBytes(StandardCharsets.US_ASCII)));
      byte[] bytes = Channels.newInputStream(channel).readAllBytes();
      answer = new String(bytes, StandardCharsets.UTF_8);
    }
    int end = answer.indexOf("\r\n\r\n");
    if (end < 0) {
      throw new EOFException("it hung up");
    }
    String body = answer.substring(end + 4);
    if (!answer.startsWith("HTTP/1.1 200 ")) {
      throw new IllegalStateException("bearerd: " + body); // JSON: error, error_description
    }
    return body;
  }

  private static String encode(String text) {
    return URLEncoder.encode(text, StandardCharsets.UTF_8);
  }
}
