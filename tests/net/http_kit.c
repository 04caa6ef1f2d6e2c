// SPDX-License-Identifier: MIT
/* The parser of HTTP, compiled for the host. */
#include <ringstep/bytes.bpf.h>

#include <ringstep/net/http/parse.bpf.h>

void http_kit_begin(struct ringstep_http_request *request);
void http_kit_head(struct ringstep_http_request *request, const __u8 *bytes, __u64 begin, __u64 end);
__u64 http_kit_between_chunks(struct ringstep_http_request *request, const __u8 *bytes, __u64 at, __u64 end);

void http_kit_begin(struct ringstep_http_request *request)
{
	ringstep_http_begin(request);
}

void http_kit_head(struct ringstep_http_request *request, const __u8 *bytes, __u64 begin, __u64 end)
{
	ringstep_http_head(request, (const struct ringstep_http_bytes *)bytes, begin, end);
}

__u64 http_kit_between_chunks(struct ringstep_http_request *request, const __u8 *bytes, __u64 at, __u64 end)
{
	return ringstep_http_between_chunks(request, (const struct ringstep_http_bytes *)bytes, at, end);
}
