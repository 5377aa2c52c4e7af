/* Addresses as text: RFC 5952 for IPv6, RFC 4007 with numeric zones; no names, no system calls. */
#include <proactor/net.h>

#include <stdio.h>
#include <string.h>

/* A decimal number of at most max up to a character that is no digit; NULL: none, or too large. */
static const char *parse_number(const char *text, uint32_t max, uint32_t *number)
{
    uint64_t    value = 0;
    const char *p = text;
    for (; *p >= '0' && *p <= '9'; p++) {
        value = value * 10 + (uint64_t)(*p - '0');
        if (value > max) return NULL;
    }
    *number = (uint32_t)value;
    return p == text ? NULL : p;
}

static const char *parse_ipv4(const char *text, uint8_t bytes[4])
{
    for (int i = 0; i < 4; i++) {
        uint32_t byte;
        if (i > 0 && *text++ != '.') return NULL;
        if (text[0] == '0' && text[1] >= '0' && text[1] <= '9') return NULL; /* octal, to some */
        text = parse_number(text, 255, &byte);
        if (!text) return NULL;
        bytes[i] = (uint8_t)byte;
    }
    return text;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

static const char *parse_ipv6(const char *text, uint8_t bytes[16])
{
    uint8_t out[16] = {0};
    int     len = 0, gap = -1; /* bytes so far; where "::" stands */
    if (text[0] == ':') {
        if (text[1] != ':') return NULL;
        gap = 0;
        text += 2;
    }
    while (len < 16 && hex_digit(*text) >= 0) {
        const char *p = text;
        uint32_t    group = 0;
        int         digits = 0;
        for (; hex_digit(*p) >= 0; p++, digits++) group = group << 4 | (uint32_t)hex_digit(*p);
        if (*p == '.') { /* the last four bytes as IPv4 */
            if (len > 12) return NULL;
            text = parse_ipv4(text, out + len);
            if (!text) return NULL;
            len += 4;
            break;
        }
        if (digits > 4) return NULL;
        out[len++] = (uint8_t)(group >> 8);
        out[len++] = (uint8_t)group;
        text = p;
        if (*text != ':') break;
        if (text[1] == ':') {
            if (gap >= 0) return NULL;
            gap = len;
            text += 2;
        } else {
            text++;
            if (hex_digit(*text) < 0) return NULL;
        }
    }
    if (gap < 0 ? len != 16 : len > 14) return NULL;
    if (gap >= 0) {
        memmove(out + 16 - (len - gap), out + gap, (size_t)(len - gap));
        memset(out + gap, 0, (size_t)(16 - len));
    }
    memcpy(bytes, out, 16);
    return text;
}

int pro_address_parse(pro_address *address, const char *text)
{
    pro_address a = {0};
    uint32_t    port;
    if (*text == '[') {
        a.family = PRO_IPV6;
        text = parse_ipv6(text + 1, a.bytes);
        if (text && *text == '%') text = parse_number(text + 1, UINT32_MAX, &a.scope_id);
        if (!text || *text++ != ']') return PRO_EINVAL;
    } else {
        a.family = PRO_IPV4;
        text = parse_ipv4(text, a.bytes);
        if (!text) return PRO_EINVAL;
    }
    if (*text++ != ':') return PRO_EINVAL;
    text = parse_number(text, 65535, &port);
    if (!text || *text) return PRO_EINVAL;
    a.port = (uint16_t)port;
    *address = a;
    return PRO_OK;
}

static size_t format_ipv6(const uint8_t bytes[16], char *out)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    if (memcmp(bytes, mapped, 12) == 0)
        return (size_t)sprintf(out, "::ffff:%u.%u.%u.%u", bytes[12], bytes[13], bytes[14],
                               bytes[15]);
    int best = -1,
        best_len = 1; /* the longest run of at least two zero groups, the first of equals */
    for (int i = 0; i < 8; i++) {
        int run = 0;
        while (i + run < 8 && bytes[2 * (i + run)] == 0 && bytes[2 * (i + run) + 1] == 0) run++;
        if (run > best_len) best = i, best_len = run;
    }
    size_t n = 0;
    for (int i = 0; i < 8; i++) {
        if (i == best) {
            n += (size_t)sprintf(out + n, "::");
            i += best_len - 1;
            continue;
        }
        const char *colon = n > 0 && out[n - 1] != ':' ? ":" : "";
        n += (size_t)sprintf(out + n, "%s%x", colon, bytes[2 * i] << 8 | bytes[2 * i + 1]);
    }
    return n;
}

size_t pro_address_format(const pro_address *address, char *buf, size_t size)
{
    char           text[PRO_ADDRESS_TEXT_MAX];
    const uint8_t *b = address->bytes;
    int            n;
    if (address->family == PRO_IPV4) {
        n = snprintf(text, sizeof text, "%u.%u.%u.%u:%u", b[0], b[1], b[2], b[3], address->port);
    } else if (address->family == PRO_IPV6) {
        char ip[48], zone[16] = "";
        format_ipv6(b, ip);
        if (address->scope_id) snprintf(zone, sizeof zone, "%%%u", address->scope_id);
        n = snprintf(text, sizeof text, "[%s%s]:%u", ip, zone, address->port);
    } else {
        n = snprintf(text, sizeof text, "(none)");
    }
    snprintf(buf, size, "%s", text);
    return (size_t)n;
}

pro_address pro_address_any(pro_family family, uint16_t port)
{
    return (pro_address){.family = (uint16_t)family, .port = port};
}

pro_address pro_address_loopback(pro_family family, uint16_t port)
{
    pro_address a = pro_address_any(family, port);
    if (family == PRO_IPV4) {
        a.bytes[0] = 127;
        a.bytes[3] = 1;
    } else {
        a.bytes[15] = 1;
    }
    return a;
}

int pro_address_equal(const pro_address *a, const pro_address *b)
{
    size_t len = a->family == PRO_IPV4 ? 4 : 16;
    return a->family == b->family && a->port == b->port && a->scope_id == b->scope_id &&
           memcmp(a->bytes, b->bytes, len) == 0;
}
