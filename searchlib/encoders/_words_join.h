/* Neighbouring words that are one identifier, as in identifiers.py. Included by _words.c alone. */

#ifndef WORDS_JOIN_H
#define WORDS_JOIN_H

#include "_words_find.h"

#define SHORT 16 /* characters of a word that is joined with its neighbour */
#define TAIL 3   /* letters at most behind a number and a hyphen */
#define HEAD 5   /* capitals at most before a space and a number */
#define GROUPS 4 /* of three digits, behind the first */

/* Whether the word before `at`, which is within the text, and the next may be joined: almost
   never, and quickly told. A text ends with a zero. */
static inline int may_join(const uint8_t *at)
{
    uint8_t before = at[-1], gap = at[0], next = at[1];
    if (!(is_digit(next) | is_digit(before)))
        return 0;
    if (is_digit(next))
        return gap == ' ' ? is_capital(before) || before == 'x' : gap == '-' || gap == ',';
    if ((gap != ' ' && gap != '-') || next > 127 || !LOWER[next])
        return 0;
    for (int i = 2; i < 2 + TAIL; i++) /* as many letters at most, and a unit has no more */
        if (at[i] > 127 || !LOWER[at[i]])
            return 1;
    return 0;
}

/* The bytes of the word at `text`, if it is ASCII and not longer than SHORT; else 0. */
static Py_ssize_t short_word(const Words *self, const uint8_t *text, Py_ssize_t left)
{
    Py_ssize_t n = 0;
    while (n < left && text[n] < 0x80 && LOWER[text[n]])
        if (++n > SHORT)
            return 0;
    return n < left && letter_at(self, text + n) ? 0 : n;
}

static int is_unit(const Words *self, const uint8_t *word, Py_ssize_t n)
{
    char key[SHORT + 3] = " ";
    for (Py_ssize_t i = 0; i < n; i++)
        key[i + 1] = (char)LOWER[word[i]];
    key[n + 1] = ' ';
    return (n == 1 && word[0] == 'A') || strstr(self->units, key);
}

/* Whether the word of n bytes at `left` and that of m bytes behind it may be one identifier;
   `inside`: the first one ends one already. */
static int are_one(const Words *self, const uint8_t *left, Py_ssize_t n, Py_ssize_t m, int inside)
{
    uint8_t gap = left[n];
    const uint8_t *right = left + n + 1;
    int number = is_digit(left[n - 1]), then = is_digit(right[0]);
    if (number == then)
        return 0;
    if (gap == '-')
        return then || m <= TAIL;
    if (gap != ' ')
        return 0;
    if (!then) {
        if (m == 1 && right[0] == 'x')
            return 1;
        for (Py_ssize_t i = 0; i < n; i++)
            if (!is_digit(left[i]))
                return 0;
        return is_unit(self, right, m);
    }
    if (n == 1 && left[0] == 'x')
        return inside;
    if ((right[m] == '.' || right[m] == ',') && is_digit(right[m + 1]))
        return 0; /* a quantity: CI 0.95 */
    for (Py_ssize_t i = 0; i < n; i++)
        if (!is_capital(left[i]))
            return 0;
    return n <= HEAD && !(n == 1 && (left[0] == 'A' || left[0] == 'I'));
}

/* Where the number with commas at `start` ends, whose first digits end at `i`; or 0. */
static Py_ssize_t number_end(const Words *self, const uint8_t *text, Py_ssize_t start,
                             Py_ssize_t i, Py_ssize_t length)
{
    if (i - start > 3 || text[start] == '0')
        return 0;
    for (Py_ssize_t at = start; at < i; at++)
        if (!is_digit(text[at]))
            return 0;
    if (start > 1 && (text[start - 1] == ',' || text[start - 1] == '.') &&
        is_digit(text[start - 2]))
        return 0;
    int groups = 0;
    while (groups < GROUPS && i + 3 < length && text[i] == ',' && is_digit(text[i + 1]) &&
           is_digit(text[i + 2]) && is_digit(text[i + 3])) {
        i += 4;
        groups++;
    }
    if (!groups || (i < length && letter_at(self, text + i)) ||
        (i + 1 < length && text[i] == ',' && is_digit(text[i + 1])))
        return 0;
    return i;
}

/* Adds what the ASCII word at `start`, which ends at `i`, is with its neighbours; -1 without
   memory. `place`: in characters. */
static __attribute__((noinline)) int add_joined(Words *self, const uint8_t *text, Py_ssize_t start,
                                                Py_ssize_t i, Py_ssize_t length, int32_t place,
                                                Found *found)
{
    char word[3 * SHORT];
    size_t size = 0;
    uint64_t hash = self->seed;
    Py_ssize_t first = start, at = start, end = text[i] == ',' ? i : 0, n = 0;
    if (end && !(end = number_end(self, text, start, i, length)))
        return 0;
    for (int more = 0; more < 3; more++) {
        for (; at < (end ? end : i); at++) {
            if (end && text[at] == ',')
                continue;
            word[size++] = (char)LOWER[text[at]];
            hash = hashed(hash, LOWER[text[at]]);
        }
        if ((more || end) && add(self, word, size, hash, place, (int32_t)(at - first), found) < 0)
            return -1;
        if (end || i >= length || !(n = short_word(self, text + i + 1, length - i - 1)) ||
            !are_one(self, text + start, i - start, n, more > 0))
            return 0;
        at = start = i + 1;
        i = start + n;
    }
    return 0;
}

#endif
