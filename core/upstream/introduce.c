/* SPDX-License-Identifier: MIT */
#include "upstream/introduce.h"

#include "http/request.h"
#include "net/stream.h"

size_t
upstream_introduce(enum proxy_version version, const struct weir_request *request, char *dst)
{
    const struct request_transport *transport = request->transport;
    struct addr_ip local;
    bool has_local = transport != NULL && transport->local != NULL &&
            transport->local(request, &local);
    /* Until its server is known, the peer speaks for itself. */
    const struct addr_ip *client = request->client.family != 0 ? &request->client
                                                               : &request->peer;
    return proxy_header_format(version, client, has_local ? &local : NULL, dst);
}

size_t
upstream_introduce_self(enum proxy_version version, struct stream *stream,
        const struct addr *target, char *dst)
{
    struct addr local;
    if (version != PROXY_V1 || stream_local(stream, &local) < 0) {
        return proxy_header_format(version, NULL, NULL, dst);
    }
    struct addr_ip here = addr_to_ip(&local), there = addr_to_ip(target);
    return proxy_header_format(version, &here, &there, dst);
}
