/*
 * A seed is base 32, without padding, of two bytes of prefix, 32 of an Ed25519
 * seed and a CRC-16; a public key of one byte of prefix, 32 of the key and the
 * same. libcrypto makes the one of the other.
 */
#include "lib/bus/nkey.h"

#include "lib/os/os.h"

#include <openssl/evp.h>
#include <stdint.h>
#include <string.h>

enum {
    PREFIX_SEED = 18 << 3, /* 'S' */
    PREFIX_USER = 20 << 3, /* 'U' */
    KEY = 32,
    SEED_BYTES = 2 + KEY + 2,
    SEED_TEXT = 58, /* (8 * SEED_BYTES + 4) / 5 */
    PUBLIC_BYTES = 1 + KEY + 2,
};

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

static bool
decode(const char *text, uint8_t out[SEED_BYTES])
{
    uint32_t bits = 0;
    unsigned n_bits = 0, n = 0;

    if (strlen(text) != SEED_TEXT)
        return false;
    for (; *text; text++) {
        const char *digit = strchr(digits, *text);

        if (!digit)
            return false;
        bits = bits << 5 | (uint32_t)(digit - digits);
        n_bits += 5;
        if (n_bits >= 8 && n < SEED_BYTES) {
            n_bits -= 8;
            out[n++] = (uint8_t)(bits >> n_bits);
        }
    }
    return n == SEED_BYTES;
}

static void
encode(const uint8_t in[PUBLIC_BYTES], char out[NKEY_PUBLIC_SIZE])
{
    uint32_t bits = 0;
    unsigned n_bits = 0, n = 0;

    for (unsigned i = 0; i < PUBLIC_BYTES; i++) {
        bits = bits << 8 | in[i];
        for (n_bits += 8; n_bits >= 5;) {
            n_bits -= 5;
            out[n++] = digits[bits >> n_bits & 31];
        }
    }
    out[n] = '\0'; /* 280 bits are 56 digits */
}

/* CRC-16 with the polynomial of XMODEM. */
static uint16_t
checksum(const uint8_t *data, size_t len)
{
    unsigned crc = 0;

    for (size_t i = 0; i < len; i++) {
        crc ^= (unsigned)data[i] << 8;
        for (int bit = 0; bit < 8; bit++)
            crc = crc & 0x8000 ? crc << 1 ^ 0x1021 : crc << 1;
        crc &= 0xffff;
    }
    return (uint16_t)crc;
}

static bool
has_checksum(const uint8_t *data, size_t len)
{
    uint16_t crc = checksum(data, len);

    return data[len] == (crc & 0xff) && data[len + 1] == crc >> 8;
}

int
nkey_public(const char *seed, char out[NKEY_PUBLIC_SIZE], struct err *e)
{
    uint8_t raw[SEED_BYTES], key[PUBLIC_BYTES] = {PREFIX_USER};
    EVP_PKEY *pair = NULL;
    size_t len = KEY;
    uint16_t crc;
    int rc = -1;

    if (!decode(seed, raw) || !has_checksum(raw, SEED_BYTES - 2) ||
        (raw[0] & 0xf8) != PREFIX_SEED ||
        ((raw[0] & 7) << 5 | raw[1] >> 3) != PREFIX_USER) {
        err_set(e, ERR_INVALID,
                "not the seed of a user, as `nk -gen user` writes it");
        goto out;
    }
    pair = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, raw + 2, KEY);
    if (!pair || EVP_PKEY_get_raw_public_key(pair, key + 1, &len) != 1) {
        err_set(e, ERR_INVALID, "make a key of the seed");
        goto out;
    }
    crc = checksum(key, PUBLIC_BYTES - 2);
    key[PUBLIC_BYTES - 2] = (uint8_t)crc;
    key[PUBLIC_BYTES - 1] = (uint8_t)(crc >> 8);
    encode(key, out);
    rc = 0;
out:
    EVP_PKEY_free(pair);
    os_wipe(raw, sizeof raw);
    return rc;
}
