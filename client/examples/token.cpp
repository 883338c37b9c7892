// A token in C++, released by itself, here for one end user (subject) below a credential:
//
//     c++ token.cpp $(pkg-config --cflags --libs libbearer) && ./a.out bot alice

#include <bearer.h>

#include <iostream>
#include <memory>
#include <stdexcept>

struct Release {
        void operator()(bearer *p) const { bearer_free(p); }
        void operator()(bearer_token *p) const { bearer_token_unref(p); }
        void operator()(bearer_request *p) const { bearer_request_free(p); }
};
template <typename T> using Owned = std::unique_ptr<T, Release>;

static void check(int r) {
        if (r < 0)
                throw std::runtime_error(bearer_error_text());
}

int main(int argc, char **argv) try {
        bearer *client;
        bearer_request *request;
        bearer_token *token;

        check(bearer_new(&client, nullptr));
        Owned<bearer> owned_client(client);
        check(bearer_request_new(&request));
        Owned<bearer_request> owned_request(request);
        if (argc > 2)
                check(bearer_request_set_subject(request, argv[2]));
        check(bearer_get(client, argc > 1 ? argv[1] : "", request, &token));
        Owned<bearer_token> owned_token(token);
        std::cout << bearer_token_value(token) << '\n';
        return 0;
} catch (const std::exception &e) {
        std::cerr << e.what() << '\n';
        return 1;
}
