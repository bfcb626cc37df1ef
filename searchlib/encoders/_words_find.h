/* What a word of a plain text is, and the parts of compounds. Included by _words.c alone. */

#ifndef WORDS_FIND_H
#define WORDS_FIND_H

#include "_words_table.h"

#define LONGEST 255 /* characters, as in words.py */
#define WIDEST 4    /* bytes of a character */
#define LETTER 1    /* kinds of characters, as in words.py */
#define EXOTIC 2

static uint8_t LOWER[256]; /* 0: separates, if it is ASCII */
#define DIGIT (1u << 16)    /* more than the characters of a word */
static uint32_t NOTED[256]; /* capitals 1, digits DIGIT: summed, how many a word has of both */

/* How many bytes of UTF-8 begin with this one. */
static inline int width_of(uint8_t first)
{
    return first < 0x80 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
}

/* What the character beyond ASCII at `text` is. */
static inline int kind_of(const Words *self, const uint8_t *text, int width)
{
    size_t code = width == 2 ? (size_t)(text[0] & 31) << 6 | (text[1] & 63)
                             : (size_t)(text[0] & 15) << 12 | (text[1] & 63) << 6 | (text[2] & 63);
    return width < 4 && code < self->n_kinds ? self->kinds[code] : EXOTIC;
}

static int is_plain(const Words *self, const uint8_t *text, Py_ssize_t length)
{
    for (Py_ssize_t i = 0; i < length;) {
        int width = width_of(text[i]);
        if (width > 1 && kind_of(self, text + i, width) == EXOTIC)
            return 0;
        i += width;
    }
    return 1;
}

/* The bytes of the letter or digit at `text`, 0 if it is neither. */
static inline int letter_at(const Words *self, const uint8_t *text)
{
    if (text[0] < 0x80)
        return LOWER[text[0]] != 0;
    int width = width_of(text[0]);
    return kind_of(self, text, width) == LETTER ? width : 0;
}

typedef struct {
    int32_t *numbers, *starts, *ends; /* of all words; places in characters, or NULL */
    Py_ssize_t used;
} Found;

/* Adds a word as it is in lower case, its characters from `place` on; -1 without memory. */
static inline __attribute__((always_inline)) int add(Words *self, const char *word, size_t size,
                                                     uint64_t hash, int32_t place, int32_t letters,
                                                     Found *found)
{
    int32_t known = number(self, word, size, (uint32_t)hash);
    if (known < 0)
        return -1;
    if (found->starts) {
        found->starts[found->used] = place;
        found->ends[found->used] = place + letters;
    }
    found->numbers[found->used++] = known;
    return 0;
}

static inline uint64_t hashed(uint64_t hash, uint8_t c)
{
    hash = (hash ^ c) * UINT64_C(0x9E3779B97F4A7C15);
    return hash ^ hash >> 32;
}

static inline int is_small(uint8_t c) { return c >= 'a' && c <= 'z'; }

static inline int is_digit(uint8_t c) { return c >= '0' && c <= '9'; }

static inline int is_capital(uint8_t c) { return c >= 'A' && c <= 'Z'; }

/* Whether a word is letters, or 0x, and from the byte `at` on, 3 or more, digits alone. */
static int numbered(const uint8_t *word, size_t at, size_t size)
{
    size_t i = 0;
    while (i < size && (is_small(word[i]) || is_capital(word[i]))) i++;
    if (i != at && !(at == 2 && word[0] == '0' && (word[1] | 32) == 'x'))
        return 0;
    for (i = at; i < size; i++)
        if (!is_digit(word[i]))
            return 0;
    return at + 3 <= size;
}

/* Whether a part of a compound like getElementById begins at the byte `at`, above 0, as in
   `words.parts`: at a capital behind a small letter; at one that a small letter follows, behind a
   digit; at one that two follow, behind a capital; at the number of INC48371. */
static int part_begins(const uint8_t *word, size_t at, size_t size)
{
    uint8_t before = word[at - 1];
    if (is_digit(word[at]))
        return !is_digit(before) && numbered(word, at, size);
    if (!is_capital(word[at]))
        return 0;
    if (is_small(before))
        return 1;
    if (at + 1 >= size || !is_small(word[at + 1]))
        return 0;
    if (is_digit(before))
        return 1;
    return is_capital(before) && at + 2 < size && is_small(word[at + 2]);
}

/* Adds the parts of a compound, those of more than one letter; -1 without memory. `written`: its
   bytes in the text, `word`: the same in lower case. */
static __attribute__((noinline)) int add_parts(Words *self, const uint8_t *written,
                                               const char *word, size_t size, int32_t place,
                                               Found *found)
{
    for (size_t start = 0, end; start < size; start = end) {
        uint64_t hash = self->seed;
        int32_t letters = 0;
        for (end = start; end == start || (end < size && !part_begins(written, end, size)); end++) {
            hash = hashed(hash, (uint8_t)word[end]);
            letters += (written[end] & 0xC0) != 0x80;
        }
        int whole = start == 0 && end == size;
        if (letters > 1 && !whole &&
            add(self, word + start, end - start, hash, place, letters, found) < 0)
            return -1;
        place += letters;
    }
    return 0;
}

#endif
